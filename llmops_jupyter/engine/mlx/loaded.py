"""A model loaded into MLX with all that computes on it. Everything here is for the one thread that owns it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.context import Size
from llmops_jupyter.engine.meter import new_meter
from llmops_jupyter.engine.mlx.adapters import ModelAdapters
from llmops_jupyter.engine.mlx.beginnings import CHUNK
from llmops_jupyter.engine.mlx.lanes import BatchLane, SingleLane
from llmops_jupyter.engine.mlx.vocabulary import FolderVocabulary
from llmops_jupyter.engine.mlx.weights import load_gguf
from llmops_jupyter.engine.native import FileVocabulary
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.scoring import Labels, Passage
from llmops_jupyter.engine.tokens import Tokenizer
from llmops_jupyter.errors import EngineError, ModelArchitectureError, ModelError
from llmops_jupyter.models import GGUFMetadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 4096
DEFAULT_ROWS = 16


class Loaded:
    """The model of a file or a folder, and the rows that run on it; as `engine.loaded.Loaded`.

    Args:
        path, metadata: of the file or the folder.
        n_ctx, rows: see `MLXEngine`.

    Raises:
        ModelError, MissingDependencyError: with what to do; nothing stays loaded.
    """

    writes = True
    ranks = False

    def __init__(
        self, path: Path, metadata: GGUFMetadata, *, n_ctx: int | None, rows: int | None
    ) -> None:
        trained = metadata.context_length or DEFAULT_CONTEXT
        self.context_length = n_ctx or min(trained, DEFAULT_CONTEXT)
        count = rows or DEFAULT_ROWS
        self.size = Size(count, count * self.context_length, CHUNK, count)
        file = path.is_file()
        self._vocabulary: FileVocabulary | FolderVocabulary
        if file:
            self._vocabulary = FileVocabulary(path)
            try:
                self.model = load_gguf(path)
            except BaseException:
                self._vocabulary.free()
                raise
        else:
            self.model = load_folder(path)
            self._vocabulary = FolderVocabulary(path, metadata.vocabulary)
        self.tokenizer = Tokenizer(self._vocabulary, self.context_length)
        adapters = ModelAdapters(self.model, metadata.architecture, file=file)
        meter = new_meter()
        self.batch = BatchLane(self.model, adapters, meter, count)
        self.exact = SingleLane(self.model, adapters, meter)
        self.scheduler = self

    def add(self, row: Row) -> None:
        """Take on a row; scoring reads many logits at once, which the batch does not give."""
        lane = self.exact if isinstance(row, Labels | Passage) else self.batch
        lane.add(row)

    def forget_prefixes(self) -> None:
        """Forget the beginnings of prompts that are kept."""
        self.batch.beginnings.forget()

    def step(self) -> bool:
        """One step of what runs; the lanes take turns."""
        try:
            alone = self.exact.step()
            return self.batch.step() or alone
        except Exception as e:  # noqa: BLE001 - the callers get it; the owner's thread must live on
            error = EngineError(f"The engine failed: {type(e).__name__}: {e}. Run again.")
            error.__cause__ = e
            self.stop(error)
        return False

    def stop(self, error: Exception) -> None:
        """End all rows with an error."""
        self.batch.stop_all(error)
        self.exact.stop_all(error)

    def free(self) -> None:
        """Give the memory back; nothing here may be used any more."""
        import mlx.core as mx

        self._vocabulary.free()
        self.model = None
        # A thread that ends with streams of its own makes the process abort when it ends (MLX 0.32.4).
        mx.clear_streams()

    def status(self) -> Mapping[str, Any]:
        """How it is loaded, and what runs."""
        import mlx.core as mx

        return {
            "context": self.context_length,
            "rows": f"{len(self.batch.active)} of {self.size.rows}",
            "waiting": len(self.batch.waiting) + len(self.exact.waiting),
            "kept prefixes": len(self.batch.beginnings),
            "device": str(mx.default_device().type).rpartition(".")[2],
            "memory": int(mx.get_active_memory()),
            "chat template": self.tokenizer.format.source,
            "vocabulary": self._vocabulary.size,
        }

    def pooled(
        self, tokenized: Sequence[Sequence[int]], *, rank: bool, stopped: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """Refused: models on MLX write."""
        del tokenized, rank, stopped
        raise ModelArchitectureError(
            "Models on MLX make no vectors and rank no texts. Choose an embedding model or a reranker in GGUF, "
            "which runs on llama.cpp."
        )


def load_folder(path: Path) -> Any:
    """The mlx-lm model of a folder; code in the folder is never run.

    Raises:
        ModelArchitectureError: mlx-lm does not know its architecture.
        ModelError: its weights do not fit its configuration.
    """
    from mlx_lm.utils import load_model

    from llmops_jupyter.models.mlxfolder import weight_files

    weight_files(path)
    try:
        model, _ = load_model(path, model_config=_rotary(path))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as e:
        if "not supported" in str(e) or "model_file" in str(e):
            raise ModelArchitectureError(
                f"The installed mlx-lm cannot run {str(path)!r}: {e!s:.200}. Update it with: "
                "pip install -U mlx-lm"
            ) from e
        raise ModelError(
            f"mlx-lm cannot load {str(path)!r}: {e!s:.300}. Convert the model again with mlx_lm.convert."
        ) from e
    model.eval()
    return model


def _rotary(path: Path) -> dict[str, Any]:
    """The rotary positions of a configuration that transformers 5 wrote, as mlx-lm reads them.

    They stand in one record there. Most of mlx-lm's models (0.32) look for the names of before, and go on with
    their defaults.
    """
    config = json.loads((path / "config.json").read_text("utf-8"))
    rotary = config.get("rope_parameters")
    # With kinds of layers there is a record for each, which only newer models have and read.
    if not isinstance(rotary, dict) or "rope_theta" not in rotary:
        return {}
    found = {"rope_theta": rotary["rope_theta"]}
    if rotary.get("rope_type", "default") != "default":
        found["rope_scaling"] = rotary
    return {name: value for name, value in found.items() if config.get(name) is None}
