"""The peer of the first token, as a program: the stock `Llama` with a model loaded.

`python -m benchmarks.first PATH THREADS` answers `first`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from benchmarks.child import serve


def first(llama: Any, question: str) -> float:
    """Seconds to the first piece of text."""
    began, seconds = time.perf_counter(), 0.0
    message = {"role": "user", "content": question}
    for chunk in llama.create_chat_completion([message], max_tokens=2, temperature=0, stream=True):
        if chunk["choices"][0]["delta"].get("content"):
            seconds = seconds or time.perf_counter() - began
    return seconds


def main() -> None:
    from llama_cpp import Llama

    threads = int(sys.argv[2])
    llama = Llama(
        sys.argv[1], n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    serve(first=lambda question: first(llama, question))


if __name__ == "__main__":
    main()
