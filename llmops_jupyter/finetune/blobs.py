"""Where adapters lie, and how they get into the registry.

A file is named by its sha256 in `blobs/sha256/` beside the store: it cannot be made again cheaply, unlike
what lies in the cache. The same adapter for PEFT is a folder beside it.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from llmops_jupyter.engine.fitting import check_base, check_shapes
from llmops_jupyter.errors import ModelArchitectureError
from llmops_jupyter.finetune import locks
from llmops_jupyter.finetune.ggufadapter import write_gguf
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.peftfolder import write_peft
from llmops_jupyter.finetune.provenance import Provenance
from llmops_jupyter.finetune.whole import aside, unwritable, whole_folder
from llmops_jupyter.models import Model, Models, read_metadata
from llmops_jupyter.models.header import read_header
from llmops_jupyter.models.model import GGUF, sha256_of
from llmops_jupyter.store import Store

OUTPUT = "output.weight"


@dataclass(frozen=True)
class Kept:
    """An adapter on disk: as GGUF, whose digest names it, and as a folder of PEFT."""

    gguf: Path
    peft: Path
    sha256: str
    size: int


def blobs_folder(store: Store) -> Path:
    """Where the store keeps files by their content; of a store in memory a folder that goes with the process."""
    if store.path is None:
        return _temporary()
    return store.path.parent / "blobs" / "sha256"


def peft_folder(path: Path) -> Path:
    """The folder of PEFT that belongs to an adapter's GGUF file."""
    return path.with_name(f"{path.stem}-peft")


def keep(lora: Lora, store: Store, base: Model, provenance: Provenance) -> Kept:
    """Write an adapter of a registered model in both formats, and name it by its content.

    Raises:
        ModelArchitectureError: something of it cannot be exported, or does not fit the base model.
        ModelError: it cannot be written; nothing was left.
    """
    tied = is_tied(base)
    if lora.architecture != base.metadata.architecture:
        raise ModelArchitectureError(
            f"The adapter is for the architecture {lora.architecture!r}; {base.ref} is "
            f"{base.metadata.architecture!r}. Name the model that it was trained on."
        )
    folder = blobs_folder(store)
    # Both are made in one folder aside, so that neither is there without the other.
    with aside(folder) as new:
        made = write_gguf(
            lora,
            new / "adapter.gguf",
            heads=base.metadata.heads,
            kv_heads=base.metadata.kv_heads,
            provenance=provenance,
            tied=tied,
        )
        digest = sha256_of(made)
        target = folder / f"{digest}.gguf"
        name = provenance.base_name or base.name
        peft = write_peft(lora, new / "peft", base_model=name, provenance=provenance)
        with locks.held(folder if store.path is None else folder.parent, locks.CHANGING):
            _place(made, peft, target)
    return Kept(target, peft_folder(target), digest, target.stat().st_size)


def _place(made: Path, peft: Path, target: Path) -> None:
    """Give both forms their names; those that are there have the same content, and perhaps are being read."""
    if not peft_folder(target).is_dir():
        with whole_folder(peft_folder(target)) as part:
            for file in peft.iterdir():
                file.replace(part / file.name)
    if target.is_file():
        return
    try:
        made.replace(target)
    except OSError as e:
        raise unwritable(target, e) from e


def register(models: Models, path: Path, name: str, base: Model, command: str) -> Model:
    """Register an adapter as the next version of `name`, with its base model as its parent.

    Args:
        models: of the workspace.
        path: of its GGUF file.
        name: of the adapter.
        base: the model that it was trained on.
        command: that makes it again, without the percent sign.

    Raises:
        OptionError: the name cannot be used.
        ModelArchitectureError: the file says that it was trained on another model, or does not fit this one.
    """
    check_base(models, name, read_metadata(path).base_sha256, base)
    if base.format == GGUF:
        check_shapes(name, path, base)
    return models.add_copy(path, name, base, command)


def is_tied(base: Model) -> bool:
    """Whether the output weights of a model are its embeddings."""
    if base.format != GGUF:
        return True
    return all(t.name != OUTPUT for t in read_header(base.path).tensors)


def remove(models: Models, adapter: Model, store: Store) -> None:
    """Take an adapter off the list, and delete its files if no other version has them."""
    models.remove(adapter.ref)
    ours = adapter.path.parent == blobs_folder(store)
    if ours and all(m.path != adapter.path for m in models.adapters()):
        adapter.path.unlink(missing_ok=True)
        shutil.rmtree(peft_folder(adapter.path), ignore_errors=True)


@functools.lru_cache(maxsize=1)
def _temporary() -> Path:
    path = Path(tempfile.mkdtemp(prefix="llmops-blobs-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
