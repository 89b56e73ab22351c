"""Embedding by MiniLM, and what adding again, editing and forgetting cost and leave."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import llmops_jupyter as lo
from benchmarks.child import Child
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row, median, spread
from benchmarks.retrieval import minilm

TEXTS, QUICK, RUNS = 64, 16, 5
TOKENS = 254  # with start and end the model's whole window of 256
FILES, PARAGRAPHS = 40, 4
SECRET = "The zanzibarite of the ninth vault is weighed every other Thursday at dusk."


def measure(*, quick: bool, pool: Sequence[str]) -> list[Row]:
    return [*_throughput(pool, quick=quick), *_kept(pool)]


def _throughput(pool: Sequence[str], *, quick: bool) -> list[Row]:
    """The model as it is imported, and its copy in BF16, for processors that multiply those, beside the peer."""
    count, runs = (QUICK, 2) if quick else (TEXTS, RUNS)
    ours: dict[str, list[float]] = {"Q8_0": [], "BF16": []}
    theirs: list[float] = []
    alike: dict[str, list[float]] = {kind: [] for kind in ours}
    with tempfile.TemporaryDirectory() as name, lo.open(name, worker="private") as ws:
        plain = ws.rag.create("bench").embedder()
        copy = ws.engine.quantize(plain.name, "BF16").name
        embedders = {"Q8_0": plain, "BF16": ws.rag.create("copy", embedder=copy).embedder()}
        texts = _texts(pool, plain, count * (runs + 1))
        for run, (some, peer) in enumerate(_rounds(texts, count, Path(name))):
            for kind, embedder in embedders.items():
                began = time.perf_counter()
                made = embedder.embed(some)
                ours[kind].append(count / (time.perf_counter() - began))
                if peer is not None:
                    alike[kind] += (made * peer[1]).sum(axis=1).tolist()
            if peer is not None and run:
                theirs.append(count / peer[0])
    said = "not run: sentence-transformers is missing"
    if theirs:
        version = peer_version("sentence-transformers")
        said = f"sentence-transformers {version}: {spread(theirs, 'texts/s')}"
    return [_row(kind, count, rates[1:], theirs, alike[kind], said) for kind, rates in ours.items()]


def _row(
    kind: str,
    count: int,
    ours: Sequence[float],
    theirs: Sequence[float],
    alike: Sequence[float],
    said: str,
) -> Row:
    ratio = median(ours) / median(theirs) if theirs else None
    cosines = (
        f"; cosine to the peer's {np.mean(alike):.5f}, least {min(alike):.5f}" if alike else ""
    )
    return Row(
        f"MiniLM ({kind}), {count} texts of {TOKENS + 2} tokens, start and end included",
        spread(ours, "texts/s") + cosines,
        said,
        f"{ratio:.2f}×" if ratio else "",
        "≥ 1.1×, cosine ≥ 0.999",
        ratio >= 1.1 and float(np.mean(alike)) >= 0.999 if ratio else None,
    )


def _rounds(
    texts: Sequence[str], count: int, folder: Path
) -> Iterator[tuple[list[str], tuple[float, Any] | None]]:
    """Each round's texts, with the peer's seconds and vectors of them if it is there."""
    rounds = [list(texts[begin : begin + count]) for begin in range(0, len(texts), count)]
    try:
        python = peer_python("sentence-transformers")
    except PeerMissing:
        yield from ((some, None) for some in rounds)
        return
    with Child(python, "benchmarks.sentences", str(minilm())) as peer:
        files = {"texts": str(folder / "texts.json"), "vectors": str(folder / "v.npy")}
        for some in rounds:
            (folder / "texts.json").write_text(json.dumps(some), "utf-8")
            seconds = peer.ask("encode", **files)["seconds"]
            yield some, (seconds, np.load(folder / "v.npy"))


def _texts(pool: Sequence[str], embedder: Any, count: int) -> list[str]:
    """Texts of exactly so many tokens, or one less where no cut gives them."""
    made, words = [], " ".join(pool).split()
    place = 0
    for _ in range(count):
        few, many = 1, TOKENS
        while few < many:  # the most words that fit
            middle = (few + many + 1) // 2
            text = " ".join(words[place : place + middle])
            few, many = (middle, many) if embedder.count(text) <= TOKENS else (few, middle - 1)
        made.append(" ".join(words[place : place + few]))
        place = (place + few) % (len(words) - TOKENS)
    return made


def _kept(pool: Sequence[str]) -> list[Row]:
    texts = {f"page{n:02}": _page(pool, n) for n in range(FILES)}
    chroma = _chroma(texts)
    with (
        tempfile.TemporaryDirectory() as name,
        lo.open(Path(name) / ".llmops", worker="private") as ws,
    ):
        folder = Path(name) / "pages"
        folder.mkdir()
        for stem, text in texts.items():
            (folder / f"{stem}.md").write_text(text, "utf-8")
        first = ws.rag.add("pages", folder)
        again = ws.rag.add("pages", folder)
        (folder / "page07.md").write_text(_page(pool, 7, extra=SECRET), "utf-8")
        edited = ws.rag.add("pages", folder)
        index = ws.rag.index("pages")
        changed = edited.chunks
        hit = index.search("zanzibarite", 1, mode="words")[0]
        vector = index.embedder().embed([f"Page 7 › Part 2\n{hit.text}"])[0].tobytes()
        before = _left(Path(name) / ".llmops", vector)
        index.forget(hit.source)
        after = _left(Path(name) / ".llmops", vector)
    return [
        Row(
            f"a folder of {FILES} files added again, nothing changed",
            f"{again.embedded} of {first.chunks} passages embedded, {1000 * again.seconds:.0f} ms",
            chroma[0],
            target="0 embedded",
            reached=again.embedded == 0,
        ),
        Row(
            "one file edited: a sentence more in one part of it",
            f"{edited.embedded} passage of the file's {changed} embedded, {edited.changed} file read anew",
            target="only the changed one",
            reached=edited.embedded == 1 and edited.changed == 1,
        ),
        Row(
            "a document forgotten: its text and its vector in the bytes of the files",
            f"{_said(after)} (before: {_said(before)})",
            chroma[1],
            target="none",
            reached=not any(after) and all(before),
        ),
    ]


def _page(pool: Sequence[str], number: int, extra: str = "") -> str:
    parts = [f"# Page {number}"]
    for part in range(PARAGRAPHS):
        begin = (number * PARAGRAPHS + part) * 3
        said = ". ".join(pool[begin : begin + 3])
        parts.append(f"## Part {part}\n\n{said}. {extra if part == 2 else ''}".rstrip())
    return "\n\n".join(parts) + "\n"


def _left(folder: Path, vector: bytes) -> tuple[bool, bool]:
    left = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    return SECRET.encode() in left, vector in left


def _said(left: Sequence[bool]) -> str:
    found = [what for what, there in zip(("text", "vector"), left, strict=True) if there]
    return " and ".join(found) or "none"


def _chroma(texts: dict[str, str]) -> tuple[str, str]:
    """What chromadb embeds again, and what it leaves."""
    try:
        python = peer_python("chromadb")
    except PeerMissing as e:
        return str(e), str(e)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "texts.json"
        path.write_text(json.dumps({**texts, "secret": SECRET}), "utf-8")
        with Child(python, "benchmarks.chroma", str(Path(name) / "db")) as peer:
            again = peer.ask("twice", texts=str(path))["embedded"]
            left = peer.ask("deleted", key="secret", text=SECRET)
    version = peer_version("chromadb")
    return (
        f"chromadb {version}, upsert: {again} of {len(texts) + 1} texts",
        f"chromadb {version}: {_said((left['text'], left['vector']))}",
    )
