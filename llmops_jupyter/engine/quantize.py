"""Quantised copies of models, made by llama.cpp in a child process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.engine import child
from llmops_jupyter.errors import ModelArchitectureError, ModelError, OptionError, did_you_mean
from llmops_jupyter.models import GGUFMetadata, read_metadata
from llmops_jupyter.models.memory import megabytes

Progress = Callable[[str], None]

# Bits a weight of each kind, scales included. Kinds that need an importance matrix are left out.
BITS: Mapping[str, float] = {
    "F32": 32.0,
    "BF16": 16.0,
    "F16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.56,
    "Q5_K_M": 5.7,
    "Q5_K_S": 5.5,
    "Q5_1": 6.0,
    "Q5_0": 5.5,
    "Q4_K_M": 4.9,
    "Q4_K_S": 4.6,
    "Q4_1": 5.0,
    "Q4_0": 4.5,
    "IQ4_NL": 4.5,
    "IQ4_XS": 4.25,
    "Q3_K_L": 4.3,
    "Q3_K_M": 3.9,
    "Q3_K_S": 3.5,
    "Q2_K": 3.0,
}
BLOCK, SUPERBLOCK = 32, 256
SPARE = 1.1


def kind_of(text: str) -> str:
    """The kind that a text names, in any case.

    Raises:
        OptionError: there is no such kind; the message proposes the nearest one.
    """
    kind = text.strip().upper().replace("-", "_")
    if kind not in BITS:
        raise OptionError(
            f"There is no quantisation {text!r}.{did_you_mean(kind, BITS)} Kinds: {', '.join(BITS)}."
        )
    return kind


def fits_rows(metadata: GGUFMetadata, kind: str) -> bool:
    """Whether the rows of a model can be cut into the blocks of a kind; else parts get another kind."""
    block = SUPERBLOCK if "_K" in kind or kind == "IQ4_XS" else BLOCK if BITS[kind] < 16 else 1
    widths = (metadata.embedding_length, metadata.feed_forward_length)
    return all(width % block == 0 for width in widths)


def copy_bytes(metadata: GGUFMetadata, kind: str) -> int:
    """About how large a copy of this kind is."""
    return int(metadata.parameters * BITS[kind] / 8)


def check(source: Path, target: Path, kind: str) -> GGUFMetadata:
    """What the source says of itself, if a copy of this kind can be made.

    Raises:
        ModelError, OptionError: with what to do instead.
    """
    metadata = read_metadata(source)
    if metadata.kind != "model":
        raise ModelArchitectureError(
            f"{source.name!r} is an {metadata.kind}, not a whole model. Quantise its base model; the "
            "adapter is added to the copy as it is."
        )
    if target.exists() and target.samefile(source):
        raise OptionError("A copy cannot replace the file that it is made from. Name another file.")
    if not fits_rows(metadata, kind):
        fitting = [k for k in ("Q8_0", "Q5_0", "Q4_0") if fits_rows(metadata, k)]
        raise OptionError(
            f"{kind} packs {SUPERBLOCK if '_K' in kind else BLOCK} weights together, and the rows of "
            f"{source.name!r} are {metadata.embedding_length} and {metadata.feed_forward_length} long. "
            f"Choose {' or '.join(fitting) or 'F16'}."
        )
    _check_space(metadata, kind, target)
    return metadata


def _check_space(metadata: GGUFMetadata, kind: str, target: Path) -> None:
    folder = next(p for p in target.absolute().parents if p.exists())
    needed, free = int(SPARE * copy_bytes(metadata, kind)), shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"The copy needs about {megabytes(needed)} and {str(folder)!r} has {megabytes(free)} free. "
            "Free space, or choose a smaller kind."
        )


def quantize(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    kind: str,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a copy of a model with other weight formats; returns its path.

    The target appears whole or not at all. Already quantised weights are unpacked and packed anew, so a
    copy is never better than its source.

    Args:
        source: a GGUF model; it stays as it is.
        target: the file to write; one that is there is replaced.
        kind: such as "Q8_0", in any case.
        threads: None takes all physical cores.
        progress: gets a line a few times a second.

    Raises:
        OptionError, ModelError, EngineError: nothing was written.
    """
    from llmops_jupyter.engine.cores import default_threads

    kind = kind_of(kind)
    path, final = Path(source).absolute(), Path(target).absolute()
    metadata = check(path, final, kind)
    part = final.with_name(f".{final.name}.{os.getpid()}.part")
    expected = copy_bytes(metadata, kind)

    def tick() -> None:
        if progress is not None and part.exists():
            share = min(part.stat().st_size / max(expected, 1), 0.99)
            progress(f"quantising to {kind}: {share:.0%}")

    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "source": str(path),
            "target": str(part),
            "kind": kind,
            "threads": threads or default_threads(),
        }
        child.call(f"{__name__}:write", values, tick=tick)
        read_metadata(part)
        part.replace(final)
    except OSError as e:
        raise ModelError(
            f"{str(final)!r} cannot be written: {e.strerror}. Name a folder that can be."
        ) from e
    finally:
        part.unlink(missing_ok=True)
    return final


def write(_: child.Report, *, source: str, target: str, kind: str, threads: int) -> None:
    """Write the copy, in this process.

    Raises:
        ModelError: the library refused, with its reason.
    """
    import ctypes

    from llmops_jupyter.engine.native import last_error, library

    lib = library()
    params: Any = lib.llama_model_quantize_default_params()
    name = "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"
    params.ftype = getattr(lib, f"LLAMA_FTYPE_{name}")
    params.allow_requantize = True
    params.nthread = threads
    code = lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    if code != 0:
        raise ModelError(
            f"llama.cpp cannot make a {kind} copy of {Path(source).name!r}: {last_error()}. Check the "
            "space on the disk, or choose another kind."
        )
