"""Large indexes, kept between runs, and queries to them in a process of their own.

`python -m benchmarks.large FOLDER QUERIES DEPTH` prints seconds, recall and memory of vector queries as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import llmops_jupyter as lo
from benchmarks.corpora import KEPT
from llmops_jupyter.rag import kept
from llmops_jupyter.rag.chunking import Chunk
from llmops_jupyter.rag.searching import Searcher
from llmops_jupyter.rag.sections import Document

WIDTH = 384
# Passages of a document, and rows that are made at once.
EACH, STEP = 100, 50_000
K = 10


def mixtures(real: Any, count: int, seed: int) -> Any:
    """Unit vectors between two of the real ones."""
    random = np.random.default_rng(seed)
    a, b = real[random.integers(0, len(real), (2, count))]
    weight = random.uniform(0.5, 1, (count, 1)).astype(np.float32)
    rows = weight * a + (1 - weight) * b
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@contextmanager
def large_index(
    name: str, count: int, rows: Callable[[int, int], Any], text: Callable[[int], str]
) -> Iterator[Any]:
    """An index with MiniLM whose passages have these texts and vectors: nothing is embedded but queries."""
    home = KEPT / f"{name}-{count}"
    with lo.open(home / ".llmops", worker="private") as ws:
        index = ws.rag.create("bench")
        for begin in range(_there(ws), count, STEP):
            print(f"  {name}: {begin:,} of {count:,} passages are there", flush=True)
            end = min(begin + STEP, count)
            _fill(ws, index, range(begin, end), rows(begin, end), text)
        yield index


def _there(ws: Any) -> int:
    found = ws.store.row("SELECT count(*) FROM rag_chunks")[0]
    return int(found)


def _fill(ws: Any, index: Any, numbers: range, rows: Any, text: Callable[[int], str]) -> None:
    places = kept.take_rows(ws.store, index.row.id, len(numbers))
    index.vectors.write(places, rows)
    for first in range(0, len(numbers), EACH):
        some = numbers[first : first + EACH]
        document = Document(f"document {some[0] // EACH}", f"{some[0]:x}", ())
        chunks = [
            (Chunk(text(n), f"row {n}", (), "prose", 0), (), places[first + i])
            for i, n in enumerate(some)
        ]
        kept.keep_document(ws.store, index.row.id, document, chunks, size=0, mtime_ns=0)


class Given:
    """Stands for an embedding model whose vectors are given."""

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def embed(self, texts: list[str]) -> Any:
        return self.vectors[[int(text) for text in texts]]


class Memory:
    """The most memory of this process that no file is behind, in MiB."""

    def __init__(self) -> None:
        self.most = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> float:
        import psutil

        found = psutil.Process().memory_info()
        self.most = max(self.most, (found.rss - getattr(found, "shared", 0)) / 2**20)
        return (found.rss - getattr(found, "shared", 0)) / 2**20

    def _watch(self) -> None:
        while True:
            self.now()
            time.sleep(0.01)


def _searcher(index: Any) -> Searcher:
    return Searcher(index.store, index.row, index.vectors)


def _ask(searcher: Searcher, given: Any, number: int, depth: int) -> tuple[float, list[int]]:
    """Seconds of one query, and the passages that it finds."""
    began = time.perf_counter()
    found = searcher.search(str(number), K, embedder=given, mode="vectors", depth=depth)
    return time.perf_counter() - began, [one.chunk_id for one in found]


def _places(ws: Any, chunks: list[int]) -> set[int]:
    """The rows of passages."""
    marks = ",".join("?" * len(chunks))
    sql = f"SELECT vector FROM rag_chunks WHERE id IN ({marks})"
    return {row[0] for row in ws.store.rows(sql, chunks)}


def main() -> None:
    folder, queries, depth = Path(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
    memory = Memory()
    before = memory.now()
    with lo.open(folder, worker="off") as ws:
        index = ws.rag.index("bench")
        given, coarse = Given(queries), index.vectors.coarse
        coarse.delete()
        first = _ask(_searcher(index), given, 0, depth)[0]
        searcher = _searcher(index)
        again = _ask(searcher, given, 0, depth)[0]
        asked = [_ask(searcher, given, number, depth) for number in range(len(queries))]
        used, most = memory.now() - before, memory.most - before
        rows = index.vectors.read(index.status().chunks)
        whole, shares = [], []
        for query, (_, chunks) in zip(queries, asked, strict=True):
            began = time.perf_counter()
            best = np.argpartition(-(rows @ query), K)[:K]
            whole.append(time.perf_counter() - began)
            shares.append(len(set(best.tolist()) & _places(ws, chunks)) / K)
        said = {
            "first": first,
            "again": again,
            "seconds": [s for s, _ in asked],
            "exact": whole,
            "recall": float(np.mean(shares)),
            "used": used,
            "most": most,
            "signs": coarse.path.stat().st_size / 2**20 if coarse.path.is_file() else 0,
        }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
