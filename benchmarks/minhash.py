"""Near-duplicates by datasketch and by rensa; this program runs in an environment that has both.

`python -m benchmarks.minhash` answers `pairs`: which earlier text each text would be dropped for.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

PERMUTATIONS, SHINGLE = 128, 5


def _shingles(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))]


def pairs(path: str, library: str, threshold: float) -> dict[str, Any]:
    """Pairs of (earlier, later) text that the library's index returns for the threshold, and seconds."""
    texts = json.loads(Path(path).read_text("utf-8"))
    began = time.perf_counter()
    found = (_datasketch if library == "datasketch" else _rensa)(texts, threshold)
    return {"pairs": found, "seconds": time.perf_counter() - began}


def _datasketch(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    found = []
    for place, text in enumerate(texts):
        one = MinHash(num_perm=PERMUTATIONS)
        one.update_batch([s.encode() for s in _shingles(text)])
        near = sorted(index.query(one))
        if near:
            found.append((near[0], place))
        index.insert(place, one)
    return found


def _rensa(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    from rensa import RMinHash, RMinHashLSH

    bands = 32 if threshold <= 0.5 else 16
    index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=bands)
    found = []
    for place, text in enumerate(texts):
        one = RMinHash(num_perm=PERMUTATIONS, seed=42)
        one.update(_shingles(text))
        near = sorted(index.query(one))
        if near:
            found.append((near[0], place))
        index.insert(place, one)
    return found


if __name__ == "__main__":
    from benchmarks.child import serve

    serve(pairs=pairs)
