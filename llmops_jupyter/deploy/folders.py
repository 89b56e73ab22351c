"""The folder of a bundle while it is made: filled beside its place, then put there as a whole."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from llmops_jupyter.deploy.manifest import File
from llmops_jupyter.errors import DeployError
from llmops_jupyter.models.memory import megabytes

Tell = Callable[[str], None]
CHUNK = 1 << 20
COPY, LINK, REFERENCE = "copy", "link", "reference"
MODES = (COPY, LINK, REFERENCE)


def silent(_: str) -> None:
    """Nobody is told."""


class Filling:
    """A folder that is being filled; each file's checksum is taken while it is written.

    Args:
        folder: that is filled; it is there and empty.
        tell: told how far it is.
    """

    def __init__(self, folder: Path, tell: Tell = silent) -> None:
        self.folder, self.tell = folder, tell
        self.files: dict[str, File] = {}
        self.weights: dict[str, File] = {}

    def text(self, path: str, text: str) -> None:
        """Write a text with the line ends of Unix, wherever it was written."""
        plain = text.replace("\r\n", "\n").replace("\r", "\n")
        self.chunks(path, [plain.encode("utf-8", "backslashreplace")])

    def value(self, path: str, value: Any, *, ordered: bool = False) -> None:
        """Write JSON; sorted, unless the order of its keys says something."""
        plain = _finite(value)
        text = json.dumps(plain, ensure_ascii=False, indent=1, sort_keys=not ordered)
        self.text(path, f"{text}\n")

    def lines(self, path: str, values: Iterable[Any]) -> None:
        """Write a line of JSON for each value."""
        self.chunks(
            path,
            (
                f"{json.dumps(v, ensure_ascii=False)}\n".encode("utf-8", "backslashreplace")
                for v in values
            ),
        )

    def chunks(self, path: str, pieces: Iterable[bytes]) -> None:
        """Write bytes as they come."""
        digest, size = hashlib.sha256(), 0
        with self._new(path).open("wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
        self.files[path] = File(digest.hexdigest(), size)

    def place(self, path: str, source: Path, mode: str, *, weight: bool = False) -> File:
        """Copy a file here, or give it a second name here; interruptible, and told of.

        Raises:
            DeployError: it cannot be read, or cannot be linked to from here.
        """
        target = self._new(path)
        if mode == LINK:
            try:
                target.hardlink_to(source.resolve())
            except OSError as e:
                if e.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise DeployError(
                    f"{str(source)!r} cannot be linked to from {str(self.folder.parent)!r} ({e.strerror}): both must lie on "
                    "one disk that knows hard links. Use --weights copy."
                ) from e
            made = hashed(target, self.tell, f"checking {source.name}")
        else:
            made = copied(source, target, self.tell)
        (self.weights if weight else self.files)[path] = made
        return made

    def _new(self, path: str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def copied(source: Path, target: Path, tell: Tell) -> File:
    """Copy a file in pieces, with its checksum."""
    with readable(source) as given, target.open("wb") as file:
        return _through(given, file, source.stat().st_size, tell, f"copying {source.name}")


def hashed(path: Path, tell: Tell, what: str = "") -> File:
    """The checksum of a file, read in pieces."""
    with readable(path) as given:
        return _through(given, None, path.stat().st_size, tell, what or f"checking {path.name}")


@contextmanager
def readable(path: Path) -> Iterator[BinaryIO]:
    """A file to read.

    Raises:
        DeployError: it is not there or may not be read.
    """
    try:
        file = path.open("rb")
    except OSError as e:
        raise DeployError(
            f"{str(path)!r} cannot be read: {e.strerror or e}. Put it back, or make it readable."
        ) from e
    with file:
        yield file


@contextmanager
def begun(parent: Path, name: str) -> Iterator[Path]:
    """A new folder within another one, to fill and then to `settle`; gone in the end if it was not.

    What a process that was killed left of such a folder goes when the next one begins.

    Raises:
        DeployError: the disk is full or the place cannot be written; nothing was left there.
    """
    part = parent / f".{name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, name)
        part.mkdir()
        yield part
    except OSError as e:
        raise unwritable(parent / name, e) from e
    finally:
        shutil.rmtree(part, ignore_errors=True)


def settle(part: Path, target: Path) -> None:
    """Give a folder that is filled its name; what was there goes, and comes back if that fails."""
    old = target.with_name(f".{target.name}.{part.name.rsplit('.', 2)[1]}.old")
    if target.exists():
        target.replace(old)
    try:
        part.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def unwritable(target: Path, error: OSError) -> DeployError:
    """The error for a folder that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DeployError(
            f"The disk is full: the bundle {str(target)!r} was not written, and nothing was left of it. Free space and "
            "build it again, or leave the weights where they are: --weights reference."
        )
    return DeployError(
        f"The bundle {str(target)!r} cannot be written: {error.strerror or error}. Name a folder that can be: --folder FOLDER."
    )


def _through(given: BinaryIO, file: BinaryIO | None, total: int, tell: Tell, what: str) -> File:
    digest, size, told = hashlib.sha256(), 0, -1
    while piece := given.read(CHUNK):
        digest.update(piece)
        if file is not None:
            file.write(piece)
        size += len(piece)
        percent = 100 * size // max(1, total)
        if percent != told and total > 8 * CHUNK:
            told = percent
            tell(f"{what}: {megabytes(size)} of {megabytes(total)}")
    return File(digest.hexdigest(), size)


def _finite(value: Any) -> Any:
    """A value as JSON has it: without numbers that are none, such as the bound of an interval that has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def _machine() -> str:
    """Some digits for this machine, which is the only one that knows its processes."""
    import platform

    return f"{zlib.crc32(platform.node().encode()):08x}"


def _sweep(parent: Path, name: str) -> None:
    """Delete what processes of this machine that are gone left of the same name.

    One that was killed between the two steps of `settle` left what was there before: it gets its name back.
    """
    import psutil

    for path in list(parent.iterdir()):
        told, _, kind = path.name.rpartition(".")
        target, _, mark = told.rpartition(".")
        machine, _, pid = mark.rpartition("-")[0].partition("-")
        if kind not in ("part", "old") or machine != _machine() or not pid.isdigit():
            continue
        if psutil.pid_exists(int(pid)) or (kind == "part" and target != f".{name}"):
            continue
        before = parent / target.removeprefix(".")
        if kind == "old" and not before.exists():
            path.replace(before)
        else:
            shutil.rmtree(path, ignore_errors=True)
