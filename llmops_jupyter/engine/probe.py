"""Whether the installed llama.cpp computes with this processor's matrix unit (AMX) without crashing.

Some compilers (GCC before 11.5, 12.4, 13.3 and 14, its bug 114098) drop the set-up of the unit's tiles, so
that a library built by them dies at the first batch on a processor that has one. A small product is
computed in a child process, once for each build; where the child dies, models are loaded without the
special weight formats that would use the unit.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs

WAIT_S = 60.0
MODULE = "llmops_jupyter.engine.probe"
FLAG = "AMX_INT8 = 1"


@lru_cache(maxsize=1)
def special_formats_work() -> bool:
    """Whether weights may be kept in the formats that processor-specific code wants."""
    from llmops_jupyter.engine.native import library

    lib = library()
    if FLAG not in lib.llama_print_system_info().decode("ascii", "replace"):
        return True
    file = platformdirs.user_cache_path("llmops-jupyter") / "amx.json"
    key = _build_key(lib)
    known = _read(file)
    if key not in known:
        known[key] = _try_in_child()
        _write(file, known)
    return bool(known[key])


def _build_key(lib: Any) -> str:
    """Changes with each build of the library and with the processor's abilities."""
    stat = Path(lib.__file__).stat()
    parts = [
        lib.__file__,
        stat.st_mtime_ns,
        lib.llama_print_system_info().decode("ascii", "replace"),
    ]
    for found in sorted((Path(lib.__file__).parent / "lib").glob("*ggml-cpu*")):
        parts += [found.name, found.stat().st_size, found.stat().st_mtime_ns]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _try_in_child() -> bool:
    command = [sys.executable, "-m", MODULE]
    try:
        # Nothing of the command comes from outside.
        done = subprocess.run(command, capture_output=True, timeout=WAIT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(file: Path, known: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known), "utf-8")
    except OSError:
        return  # the child runs again next time


def compute() -> None:
    """Run a model of one layer over a few tokens, with the special formats. May kill the process."""
    import tempfile

    from llmops_jupyter.engine.native import library

    lib = library()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.gguf"
        write_model(path)
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            sys.exit(1)
        settings = lib.llama_context_default_params()
        settings.n_ctx = 256
        settings.n_threads = settings.n_threads_batch = 1
        context = lib.llama_init_from_model(model, settings)
        tokens = (ctypes.c_int32 * 32)(*range(1, 33))
        code = lib.llama_decode(context, lib.llama_batch_get_one(tokens, 32))
        lib.llama_free(context)
        lib.llama_model_free(model)
    sys.exit(0 if code == 0 else 1)


def write_model(path: Path) -> None:
    """A llama model of one layer in Q8_0 with a vocabulary of numbers, a few hundred kilobytes."""
    import gguf
    import numpy as np

    width, vocabulary = 256, 64
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)
    writer.add_tokenizer_model("none")
    noise = np.random.default_rng(0)
    norms = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
    squares = [f"blk.0.{n}" for n in ("attn_q", "attn_k", "attn_v", "attn_output")]
    squares += [f"blk.0.{n}" for n in ("ffn_gate", "ffn_up", "ffn_down")]
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
    for name, rows in (*((s, width) for s in squares), ("token_embd", vocabulary)):
        weights = (noise.standard_normal((rows, width)) / 16).astype(np.float32)
        packed = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    compute()
