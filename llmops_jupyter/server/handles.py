"""Workspaces that are open: for reading as long as they are used, for writing only while something is written."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from llmops_jupyter import config
from llmops_jupyter.errors import StoreError, UnknownNameError
from llmops_jupyter.server.roots import Roots
from llmops_jupyter.server.versions import Versions
from llmops_jupyter.server.workers import Workers
from llmops_jupyter.server.workspaces import Found
from llmops_jupyter.store import open_store
from llmops_jupyter.workspace import Workspace

T = TypeVar("T")
# Seconds that a write waits for another program's; a panel had better say so than hang.
WAIT_S = 5.0
MOST_KEPT = 500
Identity = tuple[object, ...]


class Handle:
    """A workspace that is open for reading, with what was worked out of it and still holds."""

    def __init__(self, workspace: Workspace, workers: Workers, identity: Identity) -> None:
        self.workspace = workspace
        self.workers = workers
        self.identity = identity
        self.versions = Versions(workspace.store, workers.stamp)
        self.roots = Roots(workspace.store)
        self.users = 0
        self.left = False  # no longer among those that are kept: the last user closes it
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Hashable, object]] = OrderedDict()

    def kept(self, key: Hashable, stamp: Hashable, make: Callable[[], T]) -> T:
        """What `make` returned the last time, if the stamp is still the same; else made anew."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None and found[0] == stamp:
                self._kept.move_to_end(key)
                return cast("T", found[1])
        made = make()
        self.keep(key, stamp, made)
        return made

    def keep(self, key: Hashable, stamp: Hashable, value: object) -> None:
        """Keep a value for as long as the stamp is the same; of too many the one goes that was not used longest."""
        with self._lock:
            self._kept[key] = stamp, value
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)


class Handles:
    """The open workspaces of a server, the last used ones.

    Args:
        workers: that have models loaded.
        most: so many stay open.
    """

    def __init__(self, workers: Workers, *, most: int = 8) -> None:
        self.most = most
        self._workers = workers
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._open: OrderedDict[str, Handle] = OrderedDict()

    @contextmanager
    def reading(self, found: Found) -> Iterator[Handle]:
        """A workspace for reading; opened anew if its file is another one than before.

        Raises:
            UnknownNameError: the file has gone.
            StoreError: it cannot be read.
        """
        handle = self._taken(found)
        try:
            yield handle
        except (StoreError, sqlite3.Error) as e:
            if _identity(found.file) != handle.identity:
                raise _gone() from e
            raise
        finally:
            self._given_back(handle)

    @contextmanager
    def writing(self, found: Found) -> Iterator[Workspace]:
        """A workspace for writing, closed afterwards. An older file is upgraded by that, with a backup beside it.

        Raises:
            UnknownNameError: the file has gone.
            StoreError: it cannot be written.
        """
        if not found.file.is_file():
            raise _gone()
        with _workspace(found.file, read_only=False) as workspace:
            yield workspace

    def close(self) -> None:
        """Close all of them; those in use as soon as they are not."""
        with self._lock:
            every = list(self._open.values())
            self._open.clear()
            for handle in every:
                handle.left = True
        for handle in every:
            self._close_unused(handle)

    def _taken(self, found: Found) -> Handle:
        with self._lock:
            opening = self._opening.setdefault(found.id, threading.Lock())
        with opening:  # one thread opens it, the others wait for that
            identity = _identity(found.file)
            if identity is None:
                self._drop(found.id)
                raise _gone()
            with self._lock:
                handle = self._open.get(found.id)
                if handle is not None and handle.identity == identity:
                    self._open.move_to_end(found.id)
                    handle.users += 1
                    return handle
            self._drop(found.id)
            handle = Handle(_workspace(found.file, read_only=True), self._workers, identity)
            handle.users = 1
            with self._lock:
                self._open[found.id] = handle
                names = list(self._open)
        for name in names[: -self.most]:
            self._drop(name)
        return handle

    def _drop(self, workspace: str) -> None:
        with self._lock:
            handle = self._open.pop(workspace, None)
            if handle is not None:
                handle.left = True
        if handle is not None:
            self._close_unused(handle)

    def _given_back(self, handle: Handle) -> None:
        with self._lock:
            handle.users -= 1
        self._close_unused(handle)

    def _close_unused(self, handle: Handle) -> None:
        with self._lock:
            unused = handle.left and handle.users == 0
        if unused:
            handle.workspace.close()


def _workspace(file: Path, *, read_only: bool) -> Workspace:
    """A workspace that is not the one that `lo.trace` and the magics of this process would use."""
    settings = config.from_environment()
    store = open_store(file, read_only=read_only, durable=settings.durable, wait_s=WAIT_S)
    try:
        workspace = Workspace(store, settings)
        workspace.engine.live()  # what LLMOPS_RECORD says is meant for kernels
    except BaseException:
        store.close()
        raise
    return workspace


def _identity(file: Path) -> Identity | None:
    """What tells a file from one that has taken its place; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    if os.access(file.parent, os.W_OK):
        return status.st_dev, status.st_ino
    # SQLite may take it for one that never changes, so it is opened anew when it has.
    log = file.with_name(f"{file.name}-wal").exists()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, log


def _gone() -> UnknownNameError:
    return UnknownNameError(
        "The store of this workspace was deleted or replaced meanwhile. Choose the workspace again."
    )
