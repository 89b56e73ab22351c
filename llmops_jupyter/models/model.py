"""A registered model and the file that it points at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_jupyter.errors import ModelChangedError, ModelError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.gguf import GGUFMetadata

Progress = Callable[[int, "int | None"], None]

GGUF, MLX, ENDPOINT = "gguf", "mlx", "endpoint"

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Model:
    """A version of a registered model. `size` is in bytes; `mtime_ns` is that of the file.

    `parent` is the sha256 of the model that this one was made from; '' if it was made elsewhere. Then
    `source` is the command that makes it again, without its percent sign. `format` is 'gguf', 'mlx' for a
    folder, or 'endpoint': then `endpoint` says where, and there is no file.
    """

    name: str
    version: int
    path: Path
    sha256: str
    size: int
    mtime_ns: int
    source: str
    metadata: GGUFMetadata
    added_at: str
    aliases: tuple[str, ...] = ()
    parent: str = ""
    format: str = GGUF
    endpoint: Endpoint | None = None

    @property
    def where(self) -> str:
        """The path of its file or folder, or the address of its endpoint."""
        return str(self.path) if self.endpoint is None else self.endpoint.url

    @property
    def ref(self) -> str:
        """The reference that names exactly this version, such as ``smollm2@1``."""
        return f"{self.name}@{self.version}"


def sha256_of(path: str | os.PathLike[str], progress: Progress | None = None) -> str:
    """The hex sha256 of a file, read in pieces so that it can be interrupted and shown.

    Raises:
        ModelError: the file cannot be read.
    """
    path = Path(path)
    found = hashlib.sha256()
    try:
        total = path.stat().st_size
        done = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    except OSError as e:
        raise ModelError(
            f"{str(path)!r} cannot be read: {e.strerror or e}. Check its permissions and the disk."
        ) from e
    return found.hexdigest()


def stat_of(model: Model) -> os.stat_result:
    """Size and time of a model's file.

    Raises:
        ModelError: it is gone or cannot be read.
    """
    try:
        return model.path.stat()
    except OSError as e:
        if model.parent:
            raise ModelError(
                f"The file of {model.ref}, {str(model.path)!r}, is gone or cannot be read. Make it "
                f"again with: %{model.source} --name {model.name}"
            ) from e
        raise ModelError(
            f"The file of {model.ref}, {str(model.path)!r}, is gone or cannot be read. Put it back, "
            f"add it from where it is now with %model add PATH --name {model.name}, or take it off "
            f"the list with %model remove {model.ref}."
        ) from e


def changed(model: Model) -> ModelChangedError:
    """The error for a file with another content than was registered."""
    return ModelChangedError(
        f"{str(model.path)!r} no longer has the content that was registered as {model.ref} "
        f"(sha256 {model.sha256[:12]}…). Register the new content as the next version with: "
        f"%model add {model.path} --name {model.name}"
    )


def need_file(model: Model, what: str) -> Model:
    """The model, if it is a GGUF file.

    Args:
        model: a registered model.
        what: what is done to it, as in "tuned".

    Raises:
        ModelError: it is something else.
    """
    if model.format == GGUF:
        return model
    kind = "an endpoint" if model.format == ENDPOINT else "an MLX folder"
    raise ModelError(f"{model.ref} is {kind}; only GGUF files on this machine are {what}.")
