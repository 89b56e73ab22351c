"""MiniLM by sentence-transformers; this program runs in its environment.

`python -m benchmarks.sentences MODEL` answers `encode`: vectors of the texts in one file go to another.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from benchmarks.child import serve

BATCH = 32


def main() -> None:
    model = SentenceTransformer(sys.argv[1], device="cpu")

    def encode(texts: str, vectors: str) -> dict[str, Any]:
        given = json.loads(Path(texts).read_text("utf-8"))
        began = time.perf_counter()
        made = model.encode(
            given, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        seconds = time.perf_counter() - began
        np.save(vectors, made.astype(np.float32))
        return {"seconds": seconds}

    serve(encode=encode)


if __name__ == "__main__":
    main()
