"""What shapes a state besides its tokens: the model, the context, the library, the adapters.

Whatever is not known to leave a state alone is part of it, so that a state is found again only where it
would have come out the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.context import Context
from llmops_jupyter.engine.native import library
from llmops_jupyter.engine.probe import special_formats_work
from llmops_jupyter.engine.statefile import VERSION

# Sizes and threads: in how many pieces and on how many processors a state is computed.
SIZES = {"n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_outputs_max", "n_outputs_max_per_seq"}
FREE = {*SIZES, "n_threads", "n_threads_batch", "no_perf"}


def is_digest(text: str) -> bool:
    """Whether a text is a sha256 in hex, so that it stands for one content only."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


class Identities:
    """Hex digests of what shapes the states of a context.

    Args:
        context: where the states are.
        model: pointer to the loaded model.
        digest: sha256 of its file.
        gpu_layers: as it was loaded with.
    """

    def __init__(self, context: Context, model: Any, digest: str, gpu_layers: int | None) -> None:
        lib = library()
        fields = {name: getattr(context.params, name) for name, *_ in context.params._fields_}
        self._parts = [
            [VERSION, int(lib.LLAMA_STATE_SEQ_VERSION), sys.byteorder, platform.machine()],
            [digest, gpu_layers, _long_context(lib, model, context.cells.size)],
            {k: v for k, v in fields.items() if isinstance(v, int | float) and k not in FREE},
            _build(lib),
        ]

    def of(self, adapters: Sequence[tuple[str, float]] | None) -> str | None:
        """The digest for adapters given as (sha256, scale); None for those whose content is not known."""
        if adapters is None:
            return None
        parts = [*self._parts, [list(pair) for pair in adapters]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _long_context(lib: Any, model: Any, cells: int) -> bool:
    """Whether a context is longer than the model was first trained on: some then turn other positions."""
    buffer = ctypes.create_string_buffer(64)
    lib.llama_model_meta_val_str(model, b"general.architecture", buffer, 64)
    key = buffer.value + b".rope.scaling.original_context_length"
    known = int(lib.llama_model_meta_val_str(model, key, buffer, 64)) >= 0
    own = int(buffer.value) if known and buffer.value.isdigit() else 0
    return cells > (own or int(lib.llama_model_n_ctx_train(model)))


def _build(lib: Any) -> list[Any]:
    """What tells one build of the library from another."""
    # Where ctypes found the library; the bindings give it no public name.
    folder = Path(lib._lib._name).parent  # noqa: SLF001
    here = (p for p in sorted(folder.iterdir()) if "llama" in p.name or "ggml" in p.name)
    files = [(p.name, p.stat()) for p in here if p.is_file()]
    return [
        lib.llama_print_system_info().decode("ascii", "replace"),
        special_formats_work(),
        [[name, status.st_size, status.st_mtime_ns] for name, status in files],
    ]
