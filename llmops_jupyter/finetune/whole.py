"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmops_jupyter.errors import ModelError, OptionError
from llmops_jupyter.models.memory import megabytes


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to; what lies there in the end becomes the target, unless something was raised.

    Raises:
        ModelError: the disk is full or the folder cannot be written; nothing was left there.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(target)
    except OSError as e:
        raise unwritable(target, e) from e
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new folder to fill, which becomes the target in the end, unless something was raised.

    Raises:
        OptionError: the target is there and may not be replaced.
        ModelError: as for `whole_file`.
    """
    check_free(target, overwrite=overwrite)
    # Of this writer alone: threads share a process id.
    mark = secrets.token_hex(6)
    part, old = (target.with_name(f".{target.name}.{mark}.{kind}") for kind in ("part", "old"))
    try:
        part.mkdir(parents=True)
        yield part
        if target.exists():
            target.replace(old)
        try:
            part.replace(target)
        except OSError:
            if old.exists():
                old.replace(target)
            raise
    except OSError as e:
        raise unwritable(target, e) from e
    finally:
        for path in (part, old):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """A folder of its own within another one, which is made if need be; gone in the end.

    Raises:
        ModelError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    except OSError as e:
        raise unwritable(folder, e) from e
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def place(source: Path, target: Path) -> Path:
    """The file under another name: a second name for the same bytes if the disk can do that, else a copy."""
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
    return target


def check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is there.

    Raises:
        OptionError: the target is there and may not be replaced, or is a file where a folder is to be.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OptionError(f"{str(target)!r} is not a folder. Name another one.")
    if target.exists() and not overwrite and any(target.iterdir()):
        raise OptionError(
            f"{str(target)!r} is there and not empty. Name another folder, or overwrite it."
        )


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse what will not fit on the disk.

    Raises:
        ModelError: with what is needed and what is free.
    """
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ModelError(
            f"{what} needs about {megabytes(needed)} and {str(there)!r} has {megabytes(free)} free. "
            "Free space, or name a folder on another disk."
        )


def unwritable(target: Path, error: OSError) -> ModelError:
    """The error for something that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelError(
            f"The disk is full: {str(target)!r} was not written. Free space and run it again."
        )
    return ModelError(
        f"{str(target)!r} cannot be written: {error.strerror or error}. Name a folder that can be."
    )
