"""What a run goes on from: one file each, there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import EngineError, StoreError, StoreFullError
from llmops_jupyter.finetune.lora import Lora

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATE, BEST = "checkpoint.safetensors", "best.safetensors"
KEY = "llmops"


def save(folder: Path, state: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Path:
    """Keep the state of a learner with facts about the run, in place of the one before.

    Raises:
        StoreFullError, StoreError: it cannot be written; the one before is untouched.
    """
    return _write(folder / STATE, state, facts)


def load(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """The last state and its facts; None if there is none.

    Raises:
        EngineError: the file is damaged.
    """
    return _read(folder / STATE)


def save_best(folder: Path, lora: Lora) -> Path:
    """Keep what was learned, as the best so far.

    Raises:
        StoreFullError, StoreError: it cannot be written; the one before is untouched.
    """
    arrays = {}
    for module, (a, b) in lora.factors.items():
        arrays[f"{module}.A"], arrays[f"{module}.B"] = a, b
    facts = {
        "architecture": lora.architecture,
        "rank": lora.rank,
        "alpha": lora.alpha,
        "rslora": lora.rslora,
        "dropout": lora.dropout,
    }
    return _write(folder / BEST, arrays, facts)


def load_best(folder: Path) -> Lora | None:
    """What `save_best` kept; None if nothing."""
    found = _read(folder / BEST)
    if found is None:
        return None
    arrays, facts = found
    modules = [name.removesuffix(".A") for name in arrays if name.endswith(".A")]
    return Lora(factors={m: (arrays[f"{m}.A"], arrays[f"{m}.B"]) for m in modules}, **facts)


def _write(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    made = path.with_suffix(".tmp")
    # JSON knows no infinity; a loss that was never measured is null.
    noted = {k: None if v == float("inf") else v for k, v in facts.items()}
    # ascontiguousarray would give a single number a dimension.
    whole = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    with _told(made):
        save_file(whole, str(made), metadata={KEY: json.dumps(noted)})
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        made.replace(path)
    return path


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, KeyError, ValueError) as e:
        raise EngineError(
            f"The checkpoint {str(path)!r} is damaged ({e}). Start the run again: %finetune run"
        ) from e
    return arrays, {k: float("inf") if v is None else v for k, v in facts.items()}


@contextmanager
def _told(made: Path) -> Iterator[None]:
    """Errors of the disk as ours; what was begun is deleted."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as e:
        made.unlink(missing_ok=True)
        full = getattr(e, "errno", None) == errno.ENOSPC or "No space left" in str(e)
        kind = StoreFullError if full else StoreError
        raise kind(
            f"A checkpoint cannot be written to {str(made.parent)!r}: "
            f"{'the disk is full' if full else e}. The one before is whole: make room and go on with "
            "%finetune resume"
        ) from e
    except BaseException:
        made.unlink(missing_ok=True)
        raise
