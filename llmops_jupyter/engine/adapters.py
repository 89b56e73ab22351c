"""LoRA adapters in GGUF: loaded once, used by as many requests as name them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.native import last_error, library
from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.errors import ModelArchitectureError, ModelError, OptionError
from llmops_jupyter.models import read_metadata
from llmops_jupyter.models.model import sha256_of

# A file's path, bytes and time of change.
Key = tuple[str, int, int]


class LoadedAdapters:
    """The adapters of one loaded model. A file that was changed is loaded anew under the same path."""

    def __init__(self, model: Any, architecture: str) -> None:
        self._model = model
        self._architecture = architecture
        self._loaded: dict[Key, Any] = {}
        self._digests: dict[Key, str] = {}

    def pairs(self, adapters: Adapters) -> list[tuple[Any, float]]:
        """(pointer, scale) of each adapter.

        Raises:
            ModelError: a file cannot be read or is no adapter of this model.
        """
        return [(self._load(path), scale) for path, scale in adapters]

    def contents(self, adapters: Adapters) -> list[tuple[str, float]] | None:
        """(sha256, scale) of each adapter; None if a file cannot be read or has changed since it was used.

        Then it cannot be told which content something was computed with.
        """
        try:
            return [(self._digest(path), scale) for path, scale in adapters]
        except ModelError:
            return None

    def _digest(self, path: str) -> str:
        key = _key(path)
        if key not in self._digests:
            self._digests[key] = sha256_of(path)
        used = {known for known in (*self._loaded, *self._digests) if known[0] == path}
        if used != {key} or _key(path) != key:
            raise ModelError(f"The adapter {path!r} has changed. Open the workspace anew.")
        return self._digests[key]

    def _load(self, path: str) -> Any:
        key = _key(path)
        if key not in self._loaded:
            self._check(path)
            pointer = library().llama_adapter_lora_init(self._model, os.fsencode(path))
            if not pointer:
                raise ModelError(
                    f"llama.cpp cannot load the adapter {path!r}: {last_error()}. It was probably "
                    "made for another base model."
                )
            self._loaded[key] = pointer
        return self._loaded[key]

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


def _key(path: str) -> Key:
    try:
        stat = Path(path).stat()
    except OSError as e:
        raise ModelError(
            f"The adapter {path!r} cannot be read ({e.strerror}). Put it back, or leave it out."
        ) from e
    return (path, stat.st_size, stat.st_mtime_ns)


def checked(adapters: Adapters) -> Adapters:
    """The adapters themselves, if their form is right.

    Raises:
        OptionError: they are no (path, scale) pairs.
    """
    for pair in adapters:
        good = len(pair) == 2 and isinstance(pair[0], str)
        if not good or not isinstance(pair[1], int | float) or not abs(pair[1]) < 1e6:
            raise OptionError(f"An adapter is a (path, scale) pair, not {pair!r}.")
    return tuple((path, float(scale)) for path, scale in adapters)
