"""The peer of an adapter change, as a program: `Llama` takes one when it is made, so it is made anew.

`python -m benchmarks.reload PATH THREADS` answers `swap`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from benchmarks.child import serve


def first(llama: Any) -> float:
    """Seconds to the first token of a short prompt."""
    began = time.perf_counter()
    llama.reset()
    llama.create_completion("Of rivers we know", max_tokens=1, temperature=0)
    return time.perf_counter() - began


def swap(path: str, threads: int, lora: str) -> float:
    """Seconds that loading with an adapter costs until the first token, less that token."""
    from llama_cpp import Llama

    began = time.perf_counter()
    llama = Llama(path, lora_path=lora, n_threads=threads, verbose=False)
    first(llama)
    changed = time.perf_counter() - began
    steady = min(first(llama) for _ in range(3))
    llama.close()
    return changed - steady


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    serve(swap=lambda lora: swap(path, threads, lora))


if __name__ == "__main__":
    main()
