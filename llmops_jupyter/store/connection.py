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
import weakref
from array import array
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter.errors import StoreError, StoreReadOnlyError
from llmops_jupyter.store import location, migrations
from llmops_jupyter.store.faults import explain, is_busy
from llmops_jupyter.store.transaction import Write

if TYPE_CHECKING:
    import sqlite_utils

T = TypeVar("T")

WAIT_S = 60.0
STEP_MS = 200
FORK_WAIT_S = 5.0

_LEFT_TO_THE_PARENT: list[object] = []
_OPEN: weakref.WeakSet[Store] = weakref.WeakSet()
CHECKPOINT_PAGES = 4000  # 16 MB of log: a checkpoint waits for the disk, so they are made rarely


class NetworkDriveWarning(UserWarning):
    """The store lies on a network drive and is slower and less safe there."""


class Store:
    """An open store. Use `open_store` to get one; close it, or use it as a context manager."""

    def __init__(
        self,
        path: Path | None,
        *,
        read_only: bool = False,
        durable: bool = False,
        wait_s: float = WAIT_S,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.durable = durable
        self.wait_s = wait_s
        self.id = uuid.uuid4().hex
        self.lock = threading.RLock()
        self.outer: Write | None = None
        self.closed = False
        self.journal_mode = "memory" if path is None else "wal"
        self._pid = os.getpid()
        self._writer: sqlite3.Connection | None = None
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._witness: sqlite3.Connection | None = None
        self._stopped = False
        _OPEN.add(self)

    def write(self) -> Write:
        """A transaction: `with store.write() as connection`. Any exception rolls it back."""
        return Write(self)

    def read(self) -> sqlite3.Connection:
        """This thread's connection for reading; rows are `sqlite3.Row`."""
        self.check_process()
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

    def numbers(self, sql: str, parameters: Sequence[Any] = ()) -> array[int]:
        """The first column of a query, whose values are whole numbers; eight bytes each."""
        with self.lock if self.path is None else nullcontext():
            try:
                return array("q", (row[0] for row in self.read().execute(sql, parameters)))
            except sqlite3.Error as e:
                raise explain(e, self.path) from e

    def row(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def distinct(self, sql: str, parameters: Sequence[Any], limit: int) -> list[Any]:
        """Different values of a query's first column in its order; no more rows are read than needed.

        A negative `limit` means all.
        """
        found: dict[Any, None] = {}
        try:
            with self.lock if self.path is None else nullcontext():
                for row in self.read().execute(sql, parameters):
                    if len(found) == limit:
                        break
                    found[row[0]] = None
        except sqlite3.Error as e:
            raise explain(e, self.path) from e
        return list(found)

    def generation(self) -> int:
        """A number that is another one after any commit to the file, by whichever process.

        It says nothing beyond that, and means something only for as long as this store is open.
        """
        self.check_process()
        try:
            with self.lock:
                if self.path is None:
                    return self.writer().total_changes
                if self._witness is None:
                    self._witness = self._connect()
                # It tells a connection of the commits of others, so it is asked of one that makes none.
                return int(self._witness.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as e:
            raise explain(e, self.path) from e

    @property
    def database(self) -> sqlite_utils.Database:
        """The store as a `sqlite_utils.Database` for your own queries (this thread, read-only)."""
        import sqlite_utils

        return sqlite_utils.Database(self.read())

    @staticmethod
    def now() -> str:
        """The time now: UTC, ISO 8601, milliseconds."""
        return datetime.now(timezone.utc).isoformat(timespec="milliseconds")

    @property
    def writing(self) -> bool:
        """Whether some thread of this process is inside a write."""
        return self.outer is not None and self.outer.is_open

    def writer(self) -> sqlite3.Connection:
        """The connection that writes; callers hold the lock."""
        self.check_process()
        if self.read_only:
            raise StoreReadOnlyError(
                f"The store {str(self.path)!r} was opened for reading only. Open it without "
                "read_only=True to change it."
            )
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    def set_durable(self, durable: bool) -> None:
        """Whether each commit waits for the disk, from now on."""
        self.durable = durable
        if self.read_only:
            return
        with self.lock:
            writer = self.writer()
            if not writer.in_transaction:
                writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    def begin(self, connection: sqlite3.Connection) -> None:
        """Take the write lock, waiting in short steps so that an interrupt is served."""
        self.patiently(connection.execute, "BEGIN IMMEDIATE")

    def finish(self, *, commit: bool) -> None:
        """End the transaction that this thread has begun; what cannot be committed is rolled back."""
        connection = self._writer
        if connection is None or not connection.in_transaction:
            return
        try:
            if commit:
                self.patiently(connection.execute, "COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close all connections. Safe to call twice."""
        with self.lock:
            self.closed = True
            if os.getpid() == self._pid:
                for connection in (*self._readers, self._writer, self._witness):
                    if connection is not None:
                        connection.close()
            self._readers.clear()
            self._writer = self._witness = None
            self._local = threading.local()

    def stop(self) -> None:
        """Let no thread write while this process forks: SQLite would think it writing in the child."""
        self._stopped = self.lock.acquire(timeout=FORK_WAIT_S)

    def go_on(self) -> None:
        """End what `stop` began."""
        if self._stopped:
            self._stopped = False
            self.lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def check_process(self) -> None:
        """Refuse a closed store; after a fork, begin anew with connections of the child's own."""
        if self.closed:
            raise StoreError("This store is closed. Open it again with lo.open().")
        if os.getpid() != self._pid:
            if self.path is None:
                raise StoreError(
                    "A store in memory cannot be used after a fork. Open a file instead."
                )
            if self.writing:
                raise StoreError(
                    "This process was forked in the middle of a write, so it cannot use the store. "
                    "Fork before the write, or open another store."
                )
            # SQLite's connections must not be used after a fork, nor closed: that drops their locks.
            _LEFT_TO_THE_PARENT.extend([self._writer, self._witness, self._readers, self._local])
            self.lock = threading.RLock()
            self.outer = None
            self._writer = self._witness = None
            self._readers = []
            self._local = threading.local()
            self._pid = os.getpid()

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
            if self.read_only:
                # It may be a file that somebody else has made: its views call no functions with side effects.
                connection.execute("PRAGMA trusted_schema=0")
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
            self.journal_mode = self.patiently(_set_journal, connection, wanted)

    def patiently(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` returns, tried again in short steps while another process holds the lock."""
        end = time.monotonic() + self.wait_s
        while True:
            try:
                return work(*arguments)
            except sqlite3.Error as e:  # noqa: PERF203 - each round waits
                if is_busy(e) and time.monotonic() < end:
                    continue
                raise explain(e, self.path) from e


def _set_journal(connection: sqlite3.Connection, wanted: str) -> str:
    mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    if mode != wanted:
        mode = str(connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0])
    return mode


def _all(action: Callable[[Store], None]) -> None:
    for store in list(_OPEN):
        action(store)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _all(Store.stop), after_in_parent=lambda: _all(Store.go_on))


def open_store(
    path: str | Path | None = None,
    *,
    read_only: bool = False,
    durable: bool = False,
    wait_s: float = WAIT_S,
) -> Store:
    """Open the store, making or upgrading it if need be.

    Args:
        path: a file, a folder, ":memory:", or None for the store of the working directory.
        read_only: never write; the file must exist.
        durable: wait for the disk at each commit, so that a power cut loses nothing either.
        wait_s: how long a write waits while another program holds the lock.

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
        try:
            migrations.check_readable(store)
        except BaseException:
            store.close()
            raise
        return store
    location.prepare(file)
    store = Store(file, durable=durable, wait_s=wait_s)
    try:
        with store.lock:
            migrations.version_of(store, store.writer())  # what is not ours is not touched
        location.keep_private(file)
        store.set_journal()
        migrations.upgrade(store)
    except BaseException:
        store.close()
        raise
    return store
