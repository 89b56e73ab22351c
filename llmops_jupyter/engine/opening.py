"""Opening a model quickly: its file is read while the code that is to run it is still being imported."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import native
from llmops_jupyter.errors import LLMOpsError

if TYPE_CHECKING:
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine


def begin(path: str, n_gpu_layers: int | None) -> None:
    """Begin to read the file that `open_engine` will be asked for; what goes wrong is raised there.

    Where there may be a GPU, it is weighed first how much of the file goes there.
    """
    try:
        lib = native.library()
    except LLMOpsError:
        return
    if not n_gpu_layers and not lib.llama_supports_gpu_offload():
        native.read_ahead(Path(path), 0)


def open_engine(
    path: str,
    *,
    n_gpu_layers: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> LlamaCppEngine:
    """`LlamaCppEngine` with the same arguments; raises what that raises."""
    begin(path, n_gpu_layers)
    try:
        from llmops_jupyter.engine.llamacpp import LlamaCppEngine

        import_module("numpy")  # which the context needs
        template = (metadata or {}).get("chat_template")
        if template:
            # The first request needs it; until then the library works on the context.
            threading.Thread(target=_prepare, args=(template,), daemon=True).start()
        return LlamaCppEngine(path, n_gpu_layers=n_gpu_layers, metadata=metadata, **options)
    finally:
        native.forget_ahead(Path(path), 0)


def _prepare(template: str) -> None:
    from llmops_jupyter.engine.chat import compiled

    with contextlib.suppress(Exception):  # whoever asks is told
        compiled(template)
