"""Rankings by bm25s with Porter's stems; this program runs in its environment.

`python -m benchmarks.bm25` answers `rank`: for each query the ids of the first documents.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import bm25s
import Stemmer

from benchmarks.child import serve


def rank(path: str, k: int) -> dict[str, Any]:
    given = json.loads(Path(path).read_text("utf-8"))
    ids = list(given["documents"])
    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    retriever = bm25s.BM25(method="lucene")
    retriever.index(tokens(list(given["documents"].values())), show_progress=False)
    began = time.perf_counter()
    found, scores = retriever.retrieve(
        tokens(given["queries"]), k=min(k, len(ids)), show_progress=False
    )
    seconds = time.perf_counter() - began
    ranks = [
        [ids[i] for i, s in zip(row, values, strict=True) if s > 0]
        for row, values in zip(found.tolist(), scores.tolist(), strict=True)
    ]
    return {"ranks": ranks, "seconds": seconds}


if __name__ == "__main__":
    serve(rank=rank)
