"""The workspaces that a server may show: stores below its root folder, found by a bounded walk.

They are known to the outside by an id, never by a path.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import LLMOpsError, UnknownNameError
from llmops_jupyter.store import find_store_path
from llmops_jupyter.store.location import FILE, FOLDER

# How deep and how far is looked, and how long what was found counts: a walk takes at most a tenth of the time.
DEPTH, MOST_FOLDERS, MOST_ENTRIES = 6, 4_000, 200_000
MOST_OF_FOLDER = 20_000
FRESH_S, SHARE = 2.0, 10
SKIPPED = frozenset(["node_modules", "__pycache__", "site-packages", "bower_components"])
# In a folder that has this, Python's packages lie.
ENVIRONMENT = "pyvenv.cfg"


@dataclass(frozen=True)
class Found:
    """A store that is there.

    Args:
        id: by which it is asked for.
        name: of the folder that it belongs to.
        path: of its file relative to the root, for people.
        file: its file, resolved.
    """

    id: str
    name: str
    path: str
    file: Path

    def facts(self) -> dict[str, Any] | None:
        """What a list shows; None if the file has gone."""
        sizes, times = [], []
        for file in (self.file, self.file.with_name(f"{self.file.name}-wal")):
            try:
                status = file.stat()
            except OSError:
                continue
            sizes.append(status.st_size)
            times.append(status.st_mtime)
        if not self.file.is_file():
            return None
        changed = datetime.fromtimestamp(max(times, default=0.0), timezone.utc)
        return {
            "id": self.id,
            "name": self.name,
            "path": self.path,
            "size": sum(sizes),
            "changed_at": changed.isoformat(timespec="milliseconds"),
        }


class Workspaces:
    """The stores below a folder.

    Args:
        root: the folder.
        enclosing: whether the store that a kernel in `root` uses counts where it lies above.
    """

    def __init__(self, root: Path, *, enclosing: bool = True) -> None:
        self.root, self.enclosing = root, enclosing
        self._resolved = root.resolve()
        self._lock = threading.Lock()
        self._walked: tuple[Path, ...] = ()
        self._until = 0.0

    def found(self) -> list[Found]:
        """All of them: first the one that a kernel in the root uses, then the others, the nearest first."""
        files = dict.fromkeys([*self._nearest(), *self._below()])
        return [self._made(file) for file in files]

    def get(self, workspace: str) -> Found:
        """The one with this id.

        Raises:
            UnknownNameError: there is none, or no more.
        """
        # One that is known needs no walk, which may take a while where there are many folders.
        for files in (lambda: self._walked, self._nearest, self._below):
            for file in files():
                found = self._made(file)
                if found.id == workspace and self._still(file):
                    return found
        raise UnknownNameError(
            "There is no such workspace below the server's folder any more. Choose another one, or run a "
            "%%prompt cell to make one."
        )

    def _nearest(self) -> Iterator[Path]:
        """The store of the root itself, and the one that a kernel there would find."""
        own = self._checked(self.root / FOLDER / FILE)
        if own is not None:
            yield own
        try:
            used = find_store_path(self._resolved).resolve()
        except (LLMOpsError, OSError):
            return
        if used.is_file() and (self.enclosing or used.is_relative_to(self._resolved)):
            yield used

    def _still(self, file: Path) -> bool:
        """Whether a store that was found is there, and has not become a way out of the root."""
        return self._checked(file) == file or file in self._nearest()

    def _below(self) -> tuple[Path, ...]:
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._walked = tuple(self._walk())
                took = time.monotonic() - now
                self._until = time.monotonic() + max(FRESH_S, SHARE * took)
            return self._walked

    def _walk(self) -> Iterator[Path]:
        """Stores in the order of their depth. Folders are entered once, and only where they lie below the root."""
        seen: set[tuple[int, int]] = set()
        left, entries = deque([(self._resolved, 0)]), 0
        while left and len(seen) < MOST_FOLDERS and entries < MOST_ENTRIES:
            folder, depth = left.popleft()
            try:
                status = folder.stat()
                key = (status.st_dev, status.st_ino)
                if key in seen:
                    continue
                seen.add(key)
                with os.scandir(folder) as listed:
                    some = list(islice(listed, MOST_OF_FOLDER))
                found = sorted(e.name for e in some if _is_folder(e) or e.name == ENVIRONMENT)
            except OSError:
                continue
            entries += len(some)
            if ENVIRONMENT in found:
                continue
            if FOLDER in found and (store := self._checked(folder / FOLDER / FILE)) is not None:
                yield store
            if depth < DEPTH:
                left.extend((f, depth + 1) for f in self._inside(folder, found))

    def _inside(self, folder: Path, names: list[str]) -> Iterator[Path]:
        for name in names:
            if name.startswith(".") or name in SKIPPED:
                continue
            inner = folder / name
            if inner.is_symlink():
                try:
                    inner = inner.resolve(strict=True)
                except (OSError, RuntimeError):  # it leads in a circle
                    continue
                if not inner.is_relative_to(self._resolved):
                    continue
            yield inner

    def _checked(self, file: Path) -> Path | None:
        """The file itself if it is one, and lies below the root."""
        try:
            resolved = file.resolve(strict=True)
        except (OSError, RuntimeError):
            return None
        inside = resolved.is_relative_to(self._resolved)
        return resolved if inside and resolved.is_file() else None

    def _made(self, file: Path) -> Found:
        digest = hashlib.blake2b(os.fsencode(file), digest_size=8).hexdigest()
        folder = file.parent.parent if file.parent.name == FOLDER else file.parent
        shown = Path(os.path.relpath(file, self._resolved)).as_posix()
        name = folder.name or folder.anchor
        return Found(digest, _text(name), _text(shown), file)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _text(name: str) -> str:
    """A name of the file system, which may be any bytes, as text."""
    return os.fsencode(name).decode("utf-8", "replace")
