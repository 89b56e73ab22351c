"""chromadb on disk; this program runs in its environment.

`python -m benchmarks.chroma FOLDER` answers `fill`, `query` for vectors, and `twice` and `deleted` for documents.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.api.types import EmbeddingFunction

from benchmarks.child import serve

STEP = 5_000


class Counting(EmbeddingFunction):
    """Vectors of letters; counts the texts that it is asked for."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, input: Any) -> Any:  # noqa: A002 - its name in chromadb
        self.texts += len(input)
        return [vector_of(text) for text in input]


def vector_of(text: str) -> np.ndarray:
    seed = int.from_bytes(text.encode()[:6].ljust(6, b"x"), "big") + len(text)
    return np.random.default_rng(seed).normal(size=384).astype(np.float32)


def main() -> None:
    folder = Path(sys.argv[1])
    client = chromadb.PersistentClient(
        path=str(folder), settings=chromadb.Settings(anonymized_telemetry=False)
    )

    def fill(rows: str) -> dict[str, Any]:
        vectors = np.load(rows)
        made = client.get_or_create_collection(
            "rows", metadata={"hnsw:space": "cosine"}, embedding_function=None
        )
        began = time.perf_counter()
        for begin in range(made.count(), len(vectors), STEP):
            part = vectors[begin : begin + STEP]
            made.add(ids=[str(begin + n) for n in range(len(part))], embeddings=part)
        return {"seconds": time.perf_counter() - began}

    def query(queries: str, k: int) -> dict[str, Any]:
        made = client.get_collection("rows", embedding_function=None)
        seconds, found = [], []
        for one in np.load(queries):
            began = time.perf_counter()
            result = made.query(query_embeddings=[one], n_results=k, include=["distances"])
            seconds.append(time.perf_counter() - began)
            found.append([int(i) for i in result["ids"][0]])
        return {"seconds": seconds, "found": found}

    def twice(texts: str) -> dict[str, Any]:
        given = json.loads(Path(texts).read_text("utf-8"))
        counting = Counting()
        made = client.create_collection("texts", embedding_function=counting)
        for _ in range(2):
            made.upsert(ids=list(given), documents=list(given.values()))
        return {"embedded": counting.texts - len(given)}

    def deleted(key: str, text: str) -> dict[str, Any]:
        made = client.get_collection("texts", embedding_function=Counting())
        made.delete(ids=[key])
        left = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
        return {"text": text.encode() in left, "vector": vector_of(text).tobytes() in left}

    serve(fill=fill, query=query, twice=twice, deleted=deleted)


if __name__ == "__main__":
    main()
