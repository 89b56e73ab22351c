"""One prompt: how fast its answer is written, and (in `interrupt`) how soon Ctrl-C is served."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import llmops_jupyter as lo
from benchmarks import interrupt
from benchmarks.child import Child
from benchmarks.kernel import Kernel
from benchmarks.report import Row, spread

TOKENS = 128
OPTIONS = {"model": "smollm2", "temperature": 0, "max_tokens": TOKENS}
PROMPTS = (
    "Write a very long story about a dragon.",
    "Tell the whole history of Rome, century by century, in great detail.",
    "Explain at length how a steam engine works, part by part.",
)
CELL = f"%%prompt -m smollm2 -o answer --temperature 0 --max-tokens {TOKENS}\n"
RATE = "(answer.usage.output_tokens, answer.timing.tokens_per_s)"
SETTLE_S = 0.3


def measure(*, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, lo.open(folder) as ws:
        engine = ws.engine.engine("smollm2")
        path = str(ws.models.get("smollm2").path)
        threads, n_ctx = engine.status()["threads"], engine.context_length
        long_tokens = engine.count_tokens([lo.Message("user", f"0 {interrupt.LONG_TEXT}")])
        arguments = (path, str(threads), str(n_ctx), str(TOKENS))
        with Child(sys.executable, "benchmarks.loops", *arguments) as peers:
            rows = _decode(ws, peers, threads, Path(folder), 3 if quick else 15)
    return [*rows, *interrupt.measure(path, long_tokens, 2 if quick else 15)]


def _decode(ws: Any, peers: Child, threads: int, folder: Path, runs: int) -> list[Row]:
    prompt = _prompt(ws, peers)
    with Kernel(folder) as kernel:
        kernel.run("%load_ext llmops_jupyter")
        kernel.run(CELL + prompt)
        rates: dict[str, list[float]] = {"raw": [], "ours": [], "stock": [], "kernel": []}
        turns = {
            "raw": lambda: peers.ask("raw", prompt=prompt)["rate"],
            "ours": lambda: _ours(ws, prompt),
            "kernel": lambda: _kernel(kernel, prompt),
            "stock": lambda: peers.ask("stock", prompt=prompt)["rate"],
        }
        for i in range(runs):
            for name in list(turns) if i % 2 == 0 else list(turns)[::-1]:
                time.sleep(SETTLE_S)  # the threads of the last turn spin for a while
                rates[name].append(turns[name]())
    stock_threads = peers.ask("stock", prompt=prompt)["threads"]
    raw = f"raw loop, {threads} threads: {spread(rates['raw'], 'tok/s')}"
    stock = f"`Llama` as it comes, {stock_threads} threads: {spread(rates['stock'], 'tok/s')}"
    what = f"decode rate, {TOKENS} tokens, streaming and tracing on"
    ours, kernel_rates = rates["ours"], rates["kernel"]
    return [
        _row(f"{what}: `ws.prompts.stream`, at its reader", ours, rates["raw"], raw, 0.97),
        _row(f"{what}: `%%prompt` in a kernel", kernel_rates, rates["raw"], raw, 0.97),
        _row(
            "`%%prompt` against the stock high-level API", kernel_rates, rates["stock"], stock, 1.3
        ),
    ]


def _row(what: str, ours: list[float], theirs: list[float], peer: str, target: float) -> Row:
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(what, spread(ours, "tok/s"), peer, f"{ratio:.3f}×", f"≥ {target}×", ratio >= target)


def _prompt(ws: Any, peers: Child) -> str:
    """A prompt that no side answers in fewer tokens than are measured, and that all read alike."""
    for prompt in PROMPTS:
        usage = ws.prompts.run(ws.prompts.scratch(prompt), **OPTIONS).usage
        raw = peers.ask("raw", prompt=prompt)
        if usage.input_tokens != raw["input_tokens"]:
            raise RuntimeError(f"we read {usage.input_tokens} tokens, the raw loop {raw}")
        if usage.output_tokens == TOKENS and peers.ask("stock", prompt=prompt)["whole"]:
            return prompt
    raise RuntimeError(f"the model ends every prompt before {TOKENS} tokens")


def _ours(ws: Any, prompt: str) -> float:
    with ws.prompts.stream(ws.prompts.scratch(prompt), **OPTIONS) as run:
        pieces = iter(run)
        next(pieces)
        began = time.perf_counter()
        for _ in pieces:
            pass
        seconds = time.perf_counter() - began
    _check(run.completion.usage.output_tokens)
    return (TOKENS - 1) / seconds


def _kernel(kernel: Kernel, prompt: str) -> float:
    made, rate = kernel.run(CELL + prompt, RATE)
    _check(made)
    return rate


def _check(made: int) -> None:
    if made != TOKENS:
        raise RuntimeError(f"{made} tokens were written, not {TOKENS}")
