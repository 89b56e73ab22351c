"""MLX in this process; what a caller sees is as with llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmops_jupyter.engine import backend
from llmops_jupyter.engine.llamacpp import LlamaCppEngine
from llmops_jupyter.errors import missing_dependency
from llmops_jupyter.models import GGUFMetadata, read_metadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.engine.loaded import Loaded as LlamaLoaded


class MLXEngine(LlamaCppEngine):
    """A model on MLX: submitting, waiting, cancelling and scoring are those of `LlamaCppEngine`.

    Args:
        path: a folder of mlx-lm, or a GGUF file whose weights are F32, F16, Q4_0, Q4_1 or Q8_0.
        model_name, model_digest: how traces and recordings name it.
        n_ctx: tokens that one request may have, prompt and answer; None takes the model's own, at most
            4,096.
        rows: requests that run at once; None takes 16.
        metadata: what is known of the model, as `GGUFMetadata.as_dict` gives it; None reads it.

    Raises:
        ModelError, MissingDependencyError: with what to do.
    """

    provider = "mlx"

    def __init__(
        self,
        path: str | Path,
        *,
        model_name: str,
        model_digest: str,
        n_ctx: int | None = None,
        rows: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if not backend.is_installed():
            raise missing_dependency("mlx-lm", "Running a model on MLX", "mlx")
        self.model_name = model_name
        self.model_digest = model_digest
        self.path = Path(path)
        self.metadata = _read(self.path) if metadata is None else GGUFMetadata.from_dict(metadata)

        def load() -> LlamaLoaded:
            from llmops_jupyter.engine.mlx.loaded import Loaded

            # Of the same shape, as far as the engine uses it.
            return cast("LlamaLoaded", Loaded(self.path, self.metadata, n_ctx=n_ctx, rows=rows))

        self._start(load)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Refused: models on MLX write.

        Raises:
            ModelArchitectureError: always.
        """
        del texts
        return self._pooled((), rank=False)

    def status(self) -> Mapping[str, Any]:
        """What is loaded and how, and what runs."""
        return {**super().status(), "engine": "mlx"}


def open_engine(
    path: str,
    *,
    n_threads: int | None = None,
    n_gpu_layers: int | None = None,
    n_batch: int | None = None,
    prefix_cache_mb: int = 0,
    **options: Any,
) -> MLXEngine:
    """`MLXEngine` for a worker; MLX itself decides threads, layers and batches, and keeps nothing on disk."""
    del n_threads, n_gpu_layers, n_batch, prefix_cache_mb
    return MLXEngine(path, **options)


def _read(path: Path) -> GGUFMetadata:
    if path.is_dir():
        from llmops_jupyter.models.mlxfolder import read_folder

        return read_folder(path)
    return read_metadata(path)
