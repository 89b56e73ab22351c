"""States of beginnings of prompts on disk: a folder of files, found by content, bounded by bytes.

What was read can be told from a state, and its tokens stand beside it. So the folder is its owner's alone,
like the texts themselves.

Files are written under another name first and never changed, and one that has vanished was never there:
no lock is needed. They are not flushed to the medium: what a power cut leaves of one fails its checksum.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from llmops_jupyter.engine import statefile
from llmops_jupyter.engine.statefile import SUFFIX, DamagedError, Entry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEGABYTE = 10**6
PART, CLEARED = ".part", "cleared"
# A half-written file this old, in seconds, belongs to a process that is gone.
STALE_S = 3600.0
MOST_NOTES = 8


def default_folder() -> Path:
    """Where the states of all models lie, in the user's cache directory."""
    return platformdirs.user_cache_path("llmops-jupyter") / "prefixes"


@dataclass(frozen=True)
class Usage:
    """How many states there are, and their bytes."""

    entries: int
    bytes: int


class SavedStates:
    """The states in a folder. Several threads and processes may use it at once.

    Args:
        folder: made when something is written.
        most: bytes that all states together may take; those used longest ago go first.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self.most = most
        self.notes: list[str] = []
        self._known: dict[Path, Entry] = {}

    def entries(self, identity: str) -> list[Entry]:
        """The states that were made with `identity`; see `identity.Identities`."""
        start = statefile.beginning(identity)
        here = {p for p, _ in self._files() if p.name.startswith(start) and p.suffix == SUFFIX}
        found = []
        for path in sorted(here):
            entry = self._known.get(path) or self._look(path, identity)
            if entry is not None:
                self._known[path] = entry
                found.append(entry)
        self._known = {path: entry for path, entry in self._known.items() if path in here}
        return found

    def read(self, entry: Entry) -> NDArray[np.uint8] | None:
        """The state, checked; None if it is gone, or damaged and therefore deleted."""
        try:
            state = entry.read()
        except FileNotFoundError:
            return None
        except DamagedError:
            self.drop(entry.path, "was damaged")
            return None
        except OSError as e:
            self.note(f"Saved beginnings of prompts cannot be read: {e.strerror}.")
            return None
        try:
            os.utime(entry.path)
        except OSError:
            pass
        return state

    def write(
        self,
        identity: str,
        tokens: NDArray[np.int32],
        state: NDArray[np.uint8],
        seconds: float,
        made: float,
    ) -> Entry | None:
        """Keep a state; None if it is not kept. What is there already is not written again.

        Args:
            identity: hex digest of all that shapes a state but the tokens.
            tokens: what it stands for.
            state: as llama.cpp gave it.
            seconds: how long reading the tokens takes.
            made: when it was made, since the epoch; what is older than the last `clear` is not kept.
        """
        path = statefile.named(self.folder, identity, tokens)
        entry = Entry(path, identity, tokens, len(state), float(seconds))
        if entry.size > self.most:
            return None
        part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}{PART}")
        try:
            if not path.exists():
                self._prepare(entry.size)
                entry.write(part, state)
                part.replace(path)
                self._make_room(0)
            if made < self.cleared_at():
                _remove(path)
        except FileNotFoundError:
            return None  # it was cleared in the meantime
        except OSError as e:
            self.note(f"Beginnings of prompts are not saved in {str(self.folder)!r}: {e.strerror}.")
            return None
        finally:
            _remove(part)
        return entry

    def drop(self, path: Path, why: str = "") -> None:
        """Delete a state; a reason is noted, as a clause."""
        self._known.pop(path, None)
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError:
            return
        if why:
            self.note(
                f"A saved beginning of a prompt ({size / 1e6:.1f} MB) {why} and was deleted; "
                "the prompt was read as usual."
            )

    def usage(self) -> Usage:
        """What all states take together, those of other models included."""
        sizes = [status.st_size for path, status in self._files() if path.suffix == SUFFIX]
        return Usage(len(sizes), sum(sizes))

    def clear(self) -> Usage:
        """Delete all states, of all models; returns what there was."""
        found = self.usage()
        for path, _ in self._files():
            _remove(path)
        if self.folder.is_dir():
            mark, now = self.folder / CLEARED, time.time_ns()
            try:
                mark.touch(mode=0o600)
                os.utime(mark, ns=(now, now))
            except OSError:
                pass
        return found

    def cleared_at(self) -> float:
        """When the folder was last cleared, in seconds since the epoch; 0 if it never was."""
        try:
            return (self.folder / CLEARED).stat().st_mtime
        except OSError:
            return 0.0

    def note(self, text: str) -> None:
        """Keep a sentence for the user, once; the last few are kept."""
        if text not in self.notes:
            self.notes = [*self.notes[1 - MOST_NOTES :], text]

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """States and half-written ones, as far as they can be seen; none in a folder of others."""
        try:
            _check(self.folder)
            return list(_listed(self.folder))
        except FileNotFoundError:
            return []
        except OSError as e:
            self.note(f"Saved beginnings of prompts in {str(self.folder)!r}: {e.strerror}.")
            return []

    def _look(self, path: Path, identity: str) -> Entry | None:
        try:
            return statefile.look(path, identity)
        except DamagedError:
            self.drop(path, "was damaged")
        except OSError:
            pass
        return None

    def _prepare(self, size: int) -> None:
        """Make the folder and room in it; raises an OSError that says why that cannot be."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(self.folder)
        self._make_room(size)
        if shutil.disk_usage(self.folder).free < 2 * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _make_room(self, size: int) -> None:
        """Delete the states used longest ago until `size` bytes more are within the bound."""
        found = sorted(self._files(), key=lambda each: each[1].st_mtime)
        total = sum(status.st_size for _, status in found) + size
        now = time.time()
        for path, status in found:
            whole = path.suffix == SUFFIX
            goes = total > self.most if whole else now - status.st_mtime > STALE_S
            if goes and _remove(path):
                total -= status.st_size


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as found:
        for each in found:
            if not each.name.endswith((SUFFIX, PART)):
                continue
            try:
                status = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield folder / each.name, status


def _check(folder: Path) -> None:
    """Raise an OSError unless the folder is there and its owner's alone."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if sys.platform == "win32":
        return  # The profile's folder is closed to others by its access list.
    if status.st_uid != os.getuid():
        raise PermissionError(errno.EACCES, "The folder belongs to somebody else")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise PermissionError(
            errno.EACCES, f"The folder is open to others (mode {mode:o} instead of 700)"
        )


def _remove(path: Path) -> bool:
    """Delete a file if that can be; on Windows, one that is open cannot."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
