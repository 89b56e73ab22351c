"""Ctrl-C in a real kernel: how soon it is idle again, and what the trace keeps."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import llmops_jupyter as lo
from benchmarks.kernel import Kernel
from benchmarks.report import Row, median

LONG_TEXT = "river stone cloud meadow " * 490
READ = "%%prompt -m smollm2\n{{ long }}"
WRITE = (
    "%%prompt -m smollm2 --max-tokens 2000 --temperature 0\nWrite a very long story about a dragon."
)
LIMIT_S = 0.3
LOAD_PEER = """
from llama_cpp import Llama
whole = Llama({path!r}, n_ctx=4096, n_batch=2048, verbose=False)
stock = Llama({path!r}, n_ctx=4096, verbose=False)
"""


def measure(path: str, long_tokens: int, runs: int) -> list[Row]:
    with _kernels() as (kernel, peer):
        kernel.run("%load_ext llmops_jupyter")
        kernel.run("%%prompt -m smollm2 --max-tokens 2\nSay hi.")
        peer.run(LOAD_PEER.format(path=path))
        return [_while_reading(kernel, peer, long_tokens, runs), _while_writing(kernel, runs)]


@contextlib.contextmanager
def _kernels() -> Iterator[tuple[Kernel, Kernel]]:
    with contextlib.ExitStack() as end:
        folders = [end.enter_context(tempfile.TemporaryDirectory()) for _ in range(2)]
        ours, theirs = (end.enter_context(Kernel(Path(folder))) for folder in folders)
        yield ours, theirs


def _while_reading(kernel: Kernel, peer: Kernel, tokens: int, runs: int) -> Row:
    ours: list[float] = []
    whole: list[float] = []
    stock: list[float] = []
    for i in range(runs):
        # Each text is new, so that none of it is known already, and each moment another one.
        delay, text = 0.3 + 0.04 * i, f"{i} {LONG_TEXT}"
        kernel.run(f"long = {text!r}")
        ours.append(kernel.interrupt(READ, delay))
        asked = f"[{{'role': 'user', 'content': {text!r}}}]"
        for name, found in (("whole", whole), ("stock", stock)):
            code = f"{name}.create_chat_completion({asked}, max_tokens=9)"
            found.append(peer.interrupt(code, delay))
    with lo.open(kernel.home, read_only=True) as ws:
        kept = sum(t.status == "interrupted" for t in ws.traces.newest(runs))
    return Row(
        f"Ctrl-C while {tokens:,} tokens are read, until the kernel is idle",
        f"{_worst(ours)}; {kept} of {runs} traces say interrupted",
        f"`Llama`: n_batch=2048 {_worst(whole)}; n_batch as it comes {_worst(stock)}",
        f"{median(whole) / median(ours):.0f}×",
        "≤ 300 ms, the slowest too",
        max(ours) <= LIMIT_S and kept == runs,
    )


def _while_writing(kernel: Kernel, runs: int) -> Row:
    ours = [kernel.interrupt(WRITE, 1.0 + 0.03 * i) for i in range(runs)]
    with lo.open(kernel.home, read_only=True) as ws:
        traces = [ws.traces.get(t.trace_id) for t in ws.traces.newest(runs)]
    kept = sum(t.status == "interrupted" and len(t.text) > 10 for t in traces)
    return Row(
        "Ctrl-C while the answer is written",
        f"{_worst(ours)}; partial text in {kept} of {runs} traces",
        target="≤ 300 ms, the slowest too; partial text kept",
        reached=max(ours) <= LIMIT_S and kept == runs,
    )


def _worst(values: list[float]) -> str:
    middle, worst = 1e3 * median(values), 1e3 * max(values)
    return f"{middle:,.0f} ms, slowest {worst:,.0f} ms, {len(values)} runs"
