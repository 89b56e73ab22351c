"""The owner-only folder in which shared workers can be found: sockets, keys, logs, one lock."""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

WINDOWS = sys.platform == "win32"
NAME = "llmops-jupyter"
# A Unix socket's address holds 104 bytes on macOS, its final zero included, and 108 on Linux.
LONGEST_ADDRESS = 100
KEY_BYTES = 32
LOCK_S = 60.0


class DoubtError(Exception):
    """Why a shared worker had better not be used; the message is a clause that follows 'because'."""


@dataclass(frozen=True)
class Place:
    """Where one shared worker is found; `name` is short and follows from what it has loaded."""

    folder: Path
    name: str

    @property
    def address(self) -> str:
        """What the listener binds: a socket in the folder, or a named pipe on Windows."""
        return (
            rf"\\.\pipe\llmops-{self.name}" if WINDOWS else str(self.folder / f"{self.name}.sock")
        )

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}.key"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def make_key(self) -> bytes:
        """Write a fresh key, whole or not at all, for the owner's eyes only."""
        key = secrets.token_bytes(KEY_BYTES)
        part = self.folder / f"{self.name}.{os.getpid()}.part"
        part.unlink(missing_ok=True)
        with _create(part) as file:
            file.write(key)
        part.replace(self.key)
        return key

    def read_key(self) -> bytes:
        """The key; DoubtError if it is missing or others could have written or read it."""
        try:
            file = os.open(self.key, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError as e:
            raise DoubtError(f"its key {str(self.key)!r} cannot be read ({e.strerror})") from e
        with os.fdopen(file, "rb") as opened:
            _check_owner(os.fstat(file), self.key)
            key = opened.read(KEY_BYTES + 1)
        if len(key) != KEY_BYTES:
            raise DoubtError(f"its key {str(self.key)!r} is damaged")
        return key

    def make_log(self) -> BinaryIO:
        """The log file, empty, opened for appending and reading."""
        self.log.unlink(missing_ok=True)
        return _create(self.log, os.O_APPEND)

    def clear(self) -> None:
        """Remove what a worker that is gone left behind, but for its log."""
        self.key.unlink(missing_ok=True)
        if not WINDOWS:
            Path(self.address).unlink(missing_ok=True)


def _create(path: Path, flags: int = 0) -> BinaryIO:
    """A new file that only its owner may read."""
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags | extra, 0o600)
    return os.fdopen(handle, "r+b")


@contextmanager
def lock(folder: Path, timeout: float = LOCK_S) -> Iterator[None]:
    """Hold the lock under which workers of this folder start and leave.

    Raises:
        DoubtError: it is not free within `timeout` seconds, or cannot be made.
    """
    from filelock import FileLock, Timeout

    held = FileLock(folder / "lock", timeout=timeout, mode=0o600)
    try:
        held.acquire(poll_interval=0.02)
    except Timeout as e:
        raise DoubtError(f"the lock in {str(folder)!r} was not free within {timeout:g} s") from e
    except (OSError, NotImplementedError) as e:
        raise DoubtError(f"the lock in {str(folder)!r} cannot be had ({e})") from e
    try:
        yield
    finally:
        held.release()


def runtime_folder() -> Path:
    """The user's runtime folder for this package, made if need be, with its rights checked.

    Raises:
        DoubtError: it is not ours alone, or an address in it would be too long.
    """
    found = _default()
    if found is None or not _fits(found):
        user = os.getuid() if sys.platform != "win32" else "user"
        found = Path(tempfile.gettempdir()) / f"llmops-{user}"
    return checked_folder(found)


def _default() -> Path | None:
    from platformdirs import user_runtime_path

    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR the library warns and takes a folder in the temporary one.
        warnings.simplefilter("ignore")
        try:
            return user_runtime_path(NAME, appauthor=False)
        except OSError:
            return None


def _fits(folder: Path) -> bool:
    return WINDOWS or len(os.fsencode(folder)) + len("/0123456789abcdef.sock") <= LONGEST_ADDRESS


def checked_folder(folder: Path) -> Path:
    """The folder itself, made if need be; DoubtError if others might have a hand in it."""
    if not _fits(folder):
        raise DoubtError(f"the path {str(folder)!r} is too long for a socket")
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        own, parent = folder.lstat(), folder.parent.stat()
    except OSError as e:
        raise DoubtError(f"the folder {str(folder)!r} cannot be made ({e.strerror})") from e
    if not stat.S_ISDIR(own.st_mode):
        raise DoubtError(f"{str(folder)!r} is not a folder")
    _check_owner(own, folder)
    if sys.platform != "win32":
        foreign = parent.st_uid not in (0, os.getuid())
        # Others cannot replace what is not theirs in a folder with the sticky bit.
        writable = bool(parent.st_mode & 0o022) and not parent.st_mode & stat.S_ISVTX
        if foreign or writable:
            raise DoubtError(f"others may write to {str(folder.parent)!r}")
    return folder


def _check_owner(status: os.stat_result, path: Path) -> None:
    if sys.platform == "win32":
        return  # The profile's folder is closed to others by its access list.
    if status.st_uid != os.getuid():
        raise DoubtError(f"{str(path)!r} belongs to somebody else")
    if status.st_mode & 0o077:
        raise DoubtError(
            f"{str(path)!r} is open to others (mode {stat.S_IMODE(status.st_mode):o} instead of "
            f"{0o700 if stat.S_ISDIR(status.st_mode) else 0o600:o})"
        )
