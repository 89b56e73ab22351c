"""Which library runs a model on this machine: llama.cpp or MLX."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_jupyter.models import Model

AUTO, LLAMA, MLX = "auto", "llama.cpp", "mlx"
FACTORY = "llmops_jupyter.engine.mlx.engine:open_engine"


def default() -> str:
    """What runs models where `backend` is 'auto': MLX on Apple silicon if it is installed."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return MLX if apple and is_installed() else LLAMA


def is_installed() -> bool:
    """Whether MLX and mlx-lm are there; they are not imported."""
    return find_spec("mlx") is not None and find_spec("mlx_lm") is not None


def choose(model: Model, wanted: str) -> tuple[str, tuple[str, ...]]:
    """What runs a model, and notes on why it is not what one might expect.

    Args:
        model: a registered file or folder.
        wanted: the setting `backend`. A folder runs on MLX whatever it says.
    """
    if model.format == "mlx":
        return MLX, ()
    if wanted != AUTO or default() == LLAMA:
        return (LLAMA if wanted == AUTO else wanted), ()
    from llmops_jupyter.engine.mlx.weights import obstacle

    why = obstacle(model.path) if find_spec("llama_cpp") is not None else None
    if why is None:
        return MLX, ()
    return LLAMA, (f"It runs on llama.cpp because MLX cannot hold it without loss: {why}.",)
