"""LoRA adapters in GGUF: loaded once, used by as many requests as name them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.native import last_error, library
from llmops_jupyter.engine.prefixes import Adapter, Adapters, Content
from llmops_jupyter.errors import ModelArchitectureError, ModelError, OptionError
from llmops_jupyter.models import read_metadata
from llmops_jupyter.models.model import sha256_of


class LoadedAdapters:
    """The adapters of one loaded model. A file that was changed is another adapter."""

    def __init__(self, model: Any, architecture: str) -> None:
        self._model = model
        self._architecture = architecture
        self._loaded: dict[Content, Any] = {}
        self._digests: dict[Content, str] = {}

    def pairs(self, adapters: Adapters) -> list[tuple[Any, float]]:
        """(pointer, scale) of each adapter.

        Raises:
            ModelError: a file cannot be read, has changed since it was named, or is no adapter of this model.
        """
        return [(self._load(each), each.scale) for each in adapters]

    def contents(self, adapters: Adapters) -> list[tuple[str, float]] | None:
        """(sha256, scale) of each adapter; None if a file can no longer be read as it was."""
        try:
            return [(self._digest(each), each.scale) for each in adapters]
        except ModelError:
            return None

    def _digest(self, adapter: Adapter) -> str:
        if adapter.content not in self._digests:
            digest = sha256_of(adapter.path)
            _check_same(adapter)
            self._digests[adapter.content] = digest
        return self._digests[adapter.content]

    def _load(self, adapter: Adapter) -> Any:
        path = adapter.path
        if adapter.content not in self._loaded:
            self._check(path)
            pointer = library().llama_adapter_lora_init(self._model, os.fsencode(path))
            if not pointer:
                raise ModelError(
                    f"llama.cpp cannot load the adapter {path!r}: {last_error()}. It was probably "
                    "made for another base model."
                )
            # Kept also if it is not what was asked for, so that it is freed at the end.
            self._loaded[stamped(path, adapter.scale).content] = pointer
            _check_same(adapter)
        return self._loaded[adapter.content]

    def _check(self, path: str) -> None:
        metadata = read_metadata(path)
        if metadata.kind != "adapter":
            raise ModelArchitectureError(
                f"{path!r} is of type {metadata.kind!r}, not an adapter. Name a GGUF LoRA adapter."
            )
        if metadata.architecture != self._architecture:
            raise ModelArchitectureError(
                f"The adapter {path!r} is for the architecture {metadata.architecture!r}; the model "
                f"is {self._architecture!r}. Use it with its own base model."
            )

    def free(self) -> None:
        """Give the native memory back; no context may use the adapters any more."""
        for pointer in self._loaded.values():
            library().llama_adapter_lora_free(pointer)
        self._loaded.clear()


def stamped(path: str, scale: float) -> Adapter:
    """The adapter that lies at a path now.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        file = Path(path)
        # An adapter of mlx-lm is a folder, whose own time says nothing of its weights.
        stat = (file / "adapters.safetensors" if file.is_dir() else file).stat()
    except OSError as e:
        raise ModelError(
            f"The adapter {path!r} cannot be read ({e.strerror}). Put it back, or leave it out."
        ) from e
    return Adapter(path, scale, stat.st_size, stat.st_mtime_ns)


def _check_same(adapter: Adapter) -> None:
    if stamped(adapter.path, adapter.scale) != adapter:
        raise ModelError(f"The adapter {adapter.path!r} was changed meanwhile. Run again.")


def checked(adapters: Iterable[tuple[str, float]]) -> Adapters:
    """The adapters that are meant by (path, scale) pairs, as they are now.

    Raises:
        OptionError: they are no such pairs.
        ModelError: a file cannot be read.
    """
    pairs = list(adapters)
    for pair in pairs:
        good = len(pair) == 2 and isinstance(pair[0], str)
        if not good or not isinstance(pair[1], int | float) or not abs(pair[1]) < 1e6:
            raise OptionError(f"An adapter is a (path, scale) pair, not {pair!r}.")
    return tuple(stamped(path, float(scale)) for path, scale in pairs)
