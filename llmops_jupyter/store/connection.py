"""One SQLite file, safely shared by threads, kernels and the Jupyter server.

Writes go through one connection a process, inside `BEGIN IMMEDIATE`; reads have a connection a
thread. With write-ahead logging a commit that has returned survives the death of any process; with
`durable=True` it survives a power cut as well.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
import warnings
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import StoreError, StoreReadOnlyError
from llmops_jupyter.store import location, migrations
from llmops_jupyter.store.faults import explain, is_busy

if TYPE_CHECKING:
    import sqlite_utils

WAIT_S = 60.0
STEP_MS = 200
CHECKPOINT_PAGES = 4000  # 16 MB of log: a checkpoint waits for the disk, so they are made rarely


class NetworkDriveWarning(UserWarning):
    """The store lies on a network drive and is slower and less safe there."""


class Write:
    """A write transaction; entering it again on the same thread joins the outer one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> sqlite3.Connection:
        store = self._store
        store.lock.acquire()
        try:
            connection = store.writer()
            if store.depth == 0:
                store.begin(connection)
            store.depth += 1
        except BaseException:
            store.lock.release()
            raise
        return connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        store = self._store
        try:
            store.depth -= 1
            if store.depth == 0:
                store.finish(commit=kind is None)
        finally:
            store.lock.release()
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
            raise explain(error, store.path) from error


class Store:
    """An open store. Use `open_store` to get one; close it, or use it as a context manager."""

    def __init__(
        self, path: Path | None, *, read_only: bool = False, durable: bool = False
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.durable = durable
        self.id = uuid.uuid4().hex
        self.lock = threading.RLock()
        self.depth = 0
        self.closed = False
        self.journal_mode = "memory" if path is None else "wal"
        self._pid = os.getpid()
        self._writer: sqlite3.Connection | None = None
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []

    def write(self) -> Write:
        """A transaction: `with store.write() as connection`. Any exception rolls it back."""
        return Write(self)

    def read(self) -> sqlite3.Connection:
        """This thread's connection for reading; rows are `sqlite3.Row`."""
        self._check_process()
        if self.path is None:
            return self.writer()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            if not self.read_only:
                connection.execute("PRAGMA query_only=1")
            self._local.connection = connection
            with self.lock:
                self._readers.append(connection)
        return connection

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query; SQLite's errors come as `StoreError`."""
        try:
            if self.path is None:
                with self.lock:
                    return self.read().execute(sql, parameters).fetchall()
            return self.read().execute(sql, parameters).fetchall()
        except sqlite3.Error as e:
            raise explain(e, self.path) from e

    def row(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    @property
    def database(self) -> sqlite_utils.Database:
        """The store as a `sqlite_utils.Database` for your own queries (this thread, read-only)."""
        import sqlite_utils

        return sqlite_utils.Database(self.read())

    @staticmethod
    def now() -> str:
        """The time now: UTC, ISO 8601, milliseconds."""
        return datetime.now(timezone.utc).isoformat(timespec="milliseconds")

    def writer(self) -> sqlite3.Connection:
        """The connection that writes; callers hold the lock."""
        self._check_process()
        if self.read_only:
            raise StoreReadOnlyError(
                f"The store {str(self.path)!r} was opened for reading only. Open it without "
                "read_only=True to change it."
            )
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    def begin(self, connection: sqlite3.Connection) -> None:
        """Take the write lock, waiting in short steps so that an interrupt is served."""
        end = time.monotonic() + WAIT_S
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as e:
                if is_busy(e) and time.monotonic() < end:
                    continue
                raise explain(e, self.path) from e
            return

    def finish(self, *, commit: bool) -> None:
        """End the transaction that this thread has begun."""
        connection = self._writer
        if connection is None or not connection.in_transaction:
            return
        if not commit:
            connection.execute("ROLLBACK")
            return
        end = time.monotonic() + WAIT_S
        while True:
            try:
                connection.execute("COMMIT")
            except sqlite3.OperationalError as e:
                if is_busy(e) and time.monotonic() < end:
                    continue
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise explain(e, self.path) from e
            return

    def close(self) -> None:
        """Close all connections. Safe to call twice."""
        with self.lock:
            self.closed = True
            if os.getpid() == self._pid:
                for connection in [*self._readers, *([self._writer] if self._writer else [])]:
                    connection.close()
            self._readers.clear()
            self._writer = None
            self._local = threading.local()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check_process(self) -> None:
        if self.closed:
            raise StoreError("This store is closed. Open it again with lo.open().")
        if os.getpid() != self._pid:
            if self.path is None:
                raise StoreError(
                    "A store in memory cannot be used after a fork. Open a file instead."
                )
            self.lock = threading.RLock()
            self.depth = 0
            self._pid = os.getpid()
            self._writer = None
            self._readers = []
            self._local = threading.local()

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._uri(), uri=True, isolation_level=None, check_same_thread=False, timeout=0
            )
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA busy_timeout={STEP_MS}")
            connection.execute(f"PRAGMA synchronous={'FULL' if self.durable else 'NORMAL'}")
            connection.execute("PRAGMA foreign_keys=1")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        except sqlite3.Error as e:
            raise explain(e, self.path) from e
        return connection

    def _uri(self) -> str:
        if self.path is None:
            return "file::memory:"
        address = self.path.as_uri()
        if not self.read_only:
            return f"{address}?mode=rwc"
        wal = self.path.with_name(self.path.name + "-wal")
        frozen = not os.access(self.path.parent, os.W_OK) and not wal.exists()
        return f"{address}?mode=ro" + ("&immutable=1" if frozen else "")

    def set_journal(self) -> None:
        """Write-ahead log, or on a network drive a rollback journal with a warning."""
        if self.path is None:
            return
        wanted = "wal"
        if location.is_network_drive(self.path.parent):
            wanted = "delete"
            warnings.warn(
                f"The store {str(self.path)!r} lies on a network drive: it is slower there and must "
                "not be used from several machines at once. Set LLMOPS_HOME to a local folder.",
                NetworkDriveWarning,
                stacklevel=4,
            )
        with self.lock:
            connection = self.writer()
            end = time.monotonic() + WAIT_S
            while True:
                try:
                    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
                    if mode != wanted:
                        mode = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]
                except sqlite3.OperationalError as e:
                    if is_busy(e) and time.monotonic() < end:
                        continue
                    raise explain(e, self.path) from e
                except sqlite3.Error as e:
                    raise explain(e, self.path) from e
                self.journal_mode = mode
                return


def open_store(
    path: str | Path | None = None, *, read_only: bool = False, durable: bool = False
) -> Store:
    """Open the store, making or upgrading it if need be.

    Args:
        path: a file, a folder, ":memory:", or None for the store of the working directory.
        read_only: never write; the file must exist.
        durable: wait for the disk at each commit, so that a power cut loses nothing either.

    Raises:
        StoreCorruptError, StoreReadOnlyError, StoreVersionError, StoreError: the file cannot be used.
    """
    if path == ":memory:":
        store = Store(None, durable=durable)
        migrations.upgrade(store)
        return store
    file = location.find_store_path() if path is None else location.as_store_path(path)
    if read_only:
        if not file.is_file():
            raise StoreError(f"There is no store at {str(file)!r}. Run a prompt there first.")
        store = Store(file, read_only=True)
        migrations.check_readable(store)
        return store
    location.make_folder(file.parent)
    store = Store(file, durable=durable)
    try:
        migrations.check_header(file)
        store.set_journal()
        migrations.upgrade(store)
    except BaseException:
        store.close()
        raise
    return store
