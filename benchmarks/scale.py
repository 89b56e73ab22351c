"""Search in 50,000 and in 1,000,000 passages of 384 numbers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpora
from benchmarks.child import Child, environment
from benchmarks.corpora import KEPT, DataMissing
from benchmarks.large import WIDTH, Given, K, large_index, mixtures
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row, median, spread
from llmops_jupyter.rag.searching import DEPTH, Searcher

MIDDLE, MANY, QUICK = 50_000, 1_000_000, 110_000
SENTENCES = 5
_WORDS = [
    a + b for a in ("ba", "ce", "di", "fo", "gu", "la", "me", "ni") for b in "abcdefghijklmnop"
]


def measure(*, quick: bool) -> list[Row]:
    asked, said = _texts()
    asked = asked[:20] if quick else asked
    return [*_middle(asked, said, quick=quick), *_many(asked, said, quick=quick)]


def pool() -> list[str]:
    """Sentences of which passages are made."""
    return _texts()[1]


def _texts() -> tuple[list[str], list[str]]:
    """Queries, and sentences of which passages are made: SciFact's, or made-up words of a long-tailed kind."""
    try:
        data = corpora.scifact(quick=False)
    except DataMissing:
        rng = random.Random(0)
        weights = [1 / (n + 2) for n in range(len(_WORDS) ** 2)]
        words = rng.choices(range(len(weights)), weights, k=250_000)
        said = [_WORDS[n % len(_WORDS)] + _WORDS[n // len(_WORDS)] for n in words]
        made = [" ".join(said[n : n + 25]) for n in range(0, len(said), 25)]
        return [" ".join(s.split()[:12]) for s in made[:60]], made[60:]
    sentences = [s for _, text in data.documents.values() for s in text.split(". ")]
    return list(data.queries.values())[:60], sentences


def _passage(said: Sequence[str]) -> Callable[[int], str]:
    def text(number: int) -> str:
        return ". ".join(random.Random(number).choices(said, k=SENTENCES))

    return text


def _real(index: Any, said: Sequence[str]) -> Any:
    """Vectors of 3,000 sentences, kept."""
    path = KEPT / "sentences-ours.npy"
    if not path.is_file():
        some = random.Random(1).sample(said, min(3_000, len(said)))
        print(f"  {len(some)} sentences are embedded", flush=True)
        np.save(path, index.embedder().embed(some))
    return np.load(path)


def _rows_of(said: Sequence[str]) -> Any:
    with large_index("model", 0, _no_rows, str) as index:
        return _real(index, said)


def _no_rows(begin: int, end: int) -> Any:
    return np.zeros((end - begin, WIDTH), np.float32)


def _middle(asked: Sequence[str], said: Sequence[str], *, quick: bool) -> list[Row]:
    rows = mixtures(_rows_of(said), MIDDLE, 1)
    with large_index("middle", MIDDLE, lambda a, b: rows[a:b], _passage(said)) as index:
        embedder = index.embedder()
        queries = embedder.embed(list(asked))
        searcher = Searcher(index.store, index.row, index.vectors)
        given = Given(queries)
        legs: dict[str, list[float]] = {
            "vectors": [],
            "words": [],
            "hybrid": [],
            "embed": [],
            "numpy": [],
        }
        for query in asked[:5]:
            index.find(query, K)
            searcher.search("0", K, embedder=given, mode="vectors")
        for query in asked:  # one leg after the other: NumPy's threads go on spinning for a while
            _timed(legs["hybrid"], lambda q=query: index.find(q, K))
        for query in asked:
            _timed(legs["words"], lambda q=query: index.find(q, K, mode="words"))
            _timed(legs["embed"], lambda q=query: embedder.embed([q]))
        for number in range(len(asked)):
            _timed(
                legs["vectors"],
                lambda n=number: searcher.search(str(n), K, embedder=given, mode="vectors"),
            )
        for vector in queries:
            _timed(legs["numpy"], lambda v=vector: _nearest(rows, v))
    shown = {name: spread(values, "ms", 1000) for name, values in legs.items()}
    ours, numpy = median(legs["vectors"]), median(legs["numpy"])
    peers = _peers(rows, queries, quick=quick)
    return [
        Row(
            f"vector leg in {MIDDLE:,} × {WIDTH}, exact: the best {DEPTH}, embedding excluded",
            shown["vectors"],
            "; ".join([f"NumPy float32: {shown['numpy']}", *peers]),
            f"{ours / numpy:.2f}× NumPy",
            "≤ 8 ms",
            1000 * ours <= 8,
        ),
        Row(
            f"hybrid in {MIDDLE:,} passages of {SENTENCES} sentences, query embedded by MiniLM",
            shown["hybrid"],
            f"its parts alone: words {shown['words']}; embedding {shown['embed']}",
            target="≤ 60 ms",
            reached=1000 * median(legs["hybrid"]) <= 60,
        ),
    ]


def _timed(into: list[float], call: Callable[[], Any]) -> None:
    began = time.perf_counter()
    call()
    into.append(time.perf_counter() - began)


def _nearest(rows: Any, query: Any) -> Any:
    scores = rows @ query
    best = np.argpartition(-scores, DEPTH)[:DEPTH]
    return best[np.argsort(-scores[best])]


def _peers(rows: Any, queries: Any, *, quick: bool) -> list[str]:
    said = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "rows.npy", rows)
        np.save(folder / "queries.npy", queries)
        try:
            seconds = json.loads(
                subprocess.check_output(
                    [
                        *(peer_python("sqlite-vec"), "-m", "benchmarks.sqlitevec"),
                        *(folder / "rows.npy", folder / "queries.npy", str(DEPTH)),
                    ],
                    env=environment(),
                )
            )
            version = peer_version("sqlite-vec")
            said.append(f"sqlite-vec {version} through apsw: {spread(seconds, 'ms', 1000)}")
        except (PeerMissing, subprocess.CalledProcessError) as e:
            said.append(f"sqlite-vec: {e}")
        try:
            said.append("chromadb: not run when quick" if quick else _chroma(folder, rows, queries))
        except (PeerMissing, RuntimeError) as e:
            said.append(f"chromadb: {e}")
    return said


def _chroma(folder: Path, rows: Any, queries: Any) -> str:
    """Its approximate search; the index is kept, since it takes a minute."""
    kept = KEPT / f"chroma-{len(rows)}"
    with Child(peer_python("chromadb"), "benchmarks.chroma", str(kept)) as peer:
        peer.ask("fill", rows=str(folder / "rows.npy"))
        peer.ask("query", queries=str(folder / "queries.npy"), k=DEPTH)
        answer = peer.ask("query", queries=str(folder / "queries.npy"), k=DEPTH)
    shares = [
        len(set(found[:K]) & set(_nearest(rows, query)[:K].tolist())) / K
        for found, query in zip(answer["found"], queries, strict=True)
    ]
    return (
        f"chromadb {peer_version('chromadb')}, approximate (recall@{K} {np.mean(shares):.3f}): "
        f"{spread(answer['seconds'], 'ms', 1000)}"
    )


def _many(asked: Sequence[str], said: Sequence[str], *, quick: bool) -> list[Row]:
    count = QUICK if quick else MANY
    real = _rows_of(said)
    made = lambda a, b: mixtures(real, b - a, 1_000 + a)  # noqa: E731
    with large_index("many", count, made, lambda n: f"passage {n}") as index:
        queries = index.embedder().embed(list(asked))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.npy"
        np.save(path, queries)
        program = [sys.executable, "-m", "benchmarks.large", KEPT / f"many-{count}" / ".llmops"]
        answer = json.loads(
            subprocess.check_output([*program, path, str(DEPTH)], env=environment())
        )
    ours, exact = median(answer["seconds"]), median(answer["exact"])
    good = 1000 * ours <= 60 and answer["recall"] >= 0.99 and answer["most"] <= 600
    return [
        Row(
            f"the best {K} of {count:,} × {WIDTH} vectors, warm, embedding excluded, {len(queries)} questions, {DEPTH} ranked",
            f"{spread(answer['seconds'], 'ms', 1000)}; recall@{K} {answer['recall']:.4f}; "
            f"{answer['used']:.0f} MiB beyond mapped files, {answer['most']:.0f} at the most",
            f"NumPy float32, all rows: {spread(answer['exact'], 'ms', 1000)}, {count * WIDTH * 4 / 2**20:.0f} MiB",
            f"{exact / ours:.1f}× faster",
            "≤ 60 ms, recall ≥ 0.99, ≤ 600 MiB",
            good if not quick else None,
        ),
        Row(
            f"first query of a process to {count:,} passages; without the file of signs",
            f"{answer['again']:.2f} s; {answer['first']:.2f} s, which writes {answer['signs']:.0f} MiB",
        ),
    ]
