"""Another adapter: how long until the model answers with it.

Each time is that of the first token of a short prompt with the change, less the time of one without: what
the change alone costs. Each adapter file is one that was never loaded before.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import llmops_jupyter as lo
from benchmarks.child import Child
from benchmarks.report import Row, median, spread
from llmops_jupyter.engine.protocol import Finished, Request

RANK, ALPHA = 8, 16.0
LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
SETTLE_S = 0.3
LIMIT_S, FASTER = 0.02, 10


def measure(ws: Any, model: str, folder: Path, runs: int) -> Row:
    found = ws.models.get(model)
    engine = ws.engine.engine(model)
    threads = engine.status()["threads"]
    files = [write_adapter(found.path, folder / f"adapter-{i}.gguf", i) for i in range(runs + 1)]
    new: list[float] = []
    back: list[float] = []
    theirs: list[float] = []
    with Child(sys.executable, "benchmarks.reload", str(found.path), str(threads)) as peer:
        for i, file in enumerate(files):
            turns = (
                lambda f=file: _ours(engine, str(f)),
                lambda f=file: peer.ask("swap", lora=str(f)),
            )
            pair = {}
            for name, turn in list(zip(("ours", "theirs"), turns, strict=True))[:: 1 - 2 * (i % 2)]:
                time.sleep(SETTLE_S)
                pair[name] = turn()
            if i:  # the first one warms both up
                new.append(pair["ours"][0])
                back.append(pair["ours"][1])
                theirs.append(pair["theirs"])
    size = files[0].stat().st_size / 1e6
    ratio = statistics.median(b / a for a, b in zip(new, theirs, strict=True))
    return Row(
        f"another adapter, never loaded before (rank {RANK}, all linear layers, {size:.1f} MB), first token "
        "with it less first token without a change",
        f"{spread(new, 'ms', 1e3)}; back to none {spread(back, 'ms', 1e3)}",
        f"reload through `Llama(lora_path=)`: {spread(theirs, 'ms', 1e3, digits=0)}",
        f"{ratio:.0f}×",
        f"≤ {1e3 * LIMIT_S:.0f} ms, ≥ {FASTER}×",
        median(new) <= LIMIT_S and ratio >= FASTER,
    )


def write_adapter(model: Path, path: Path, seed: int) -> Path:
    """A LoRA adapter of small random weights (16 bits) for the linear layers of a model."""
    import numpy as np
    from gguf import GGUFReader, GGUFType, GGUFWriter

    reader = GGUFReader(model)
    draw = np.random.default_rng(seed)
    writer = GGUFWriter(path, reader.get_field("general.architecture").contents())
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for tensor in reader.tensors:
        if any(f".{name}.weight" in tensor.name for name in LINEAR):
            inputs, outputs = (int(n) for n in tensor.shape)
            for name, shape in (("lora_a", (RANK, inputs)), ("lora_b", (outputs, RANK))):
                values = 0.01 * draw.standard_normal(shape, dtype=np.float32)
                writer.add_tensor(f"{tensor.name}.{name}", values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _ours(engine: Any, file: str) -> tuple[float, float]:
    """Seconds that a change to an adapter costs, and one back to none."""
    adapter = ((file, 1.0),)
    _first(engine, ())
    without = min(_first(engine, ()) for _ in range(3))
    changed = _first(engine, adapter)
    steady = min(_first(engine, adapter) for _ in range(3))
    back = _first(engine, ())
    return changed - steady, back - without


def _first(engine: Any, adapters: tuple[tuple[str, float], ...]) -> float:
    """Seconds to the first token of a prompt, too short for anything of it to be kept."""
    sampling = lo.Sampling(temperature=0, max_tokens=1)
    request = Request("0", text="Of rivers we know", sampling=sampling, adapters=adapters)
    began = time.perf_counter()
    for event in engine.generate([request]):
        if isinstance(event, Finished) and event.error is not None:
            raise event.error
    return time.perf_counter() - began
