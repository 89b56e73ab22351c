"""A write transaction that an interrupt cannot leave open, wherever it strikes."""

from __future__ import annotations

import inspect
import os
import sqlite3
import sys
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from llmops_jupyter.store.faults import explain

if TYPE_CHECKING:
    from llmops_jupyter.store.connection import Store

SUSPENDING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Write:
    """A write transaction; entering it again on the same thread joins the outer one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pid = 0
        self._frame: FrameType | None = None
        self._instruction = 0
        self._releases = False
        self.over = False

    def __enter__(self) -> sqlite3.Connection:
        store = self._store
        store.check_process()  # before the lock is taken: a fork has a new one
        caller = sys._getframe(1)  # noqa: SLF001 - the only way to the `with` that runs this
        lock, outer = store.lock, store.outer
        held = _is_held(lock)
        left = outer if held and outer is not None and not outer.over else None
        if left is not None and left.is_running(caller):
            return store.writer()
        # What a `with` that no longer runs has left locked, an interrupt struck at its very end.
        self._releases = not held or left is not None
        try:
            if not held:
                lock.acquire()
            connection = store.writer()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            store.begin(connection)
            self._pid, self._frame, self._instruction = os.getpid(), caller, caller.f_lasti
            store.outer = self
            return connection  # noqa: TRY300 - an interrupt may come here too
        except BaseException:
            self._abandon(lock, held=held)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        store = self._store
        if store.outer is self and self._pid == os.getpid():
            try:
                store.finish(commit=kind is None)
            finally:
                self._frame = None
                if self._releases:
                    store.lock.release()
                self.over = True
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
            raise explain(error, store.path) from error

    @property
    def is_open(self) -> bool:
        """Whether it has begun and not ended."""
        return self._frame is not None and not self.over

    def is_running(self, caller: FrameType) -> bool:
        """Whether the `with` statement of this transaction still encloses what `caller` does."""
        own = self._frame
        if own is None:
            return False
        if own.f_code.co_flags & SUSPENDING:
            return True
        frame: FrameType | None = caller
        while frame is not None and frame is not own:
            frame = frame.f_back
        # The same statement entered once more in a loop has left its earlier round behind.
        return frame is not None and (own is not caller or own.f_lasti != self._instruction)

    def _abandon(self, lock: threading.RLock, *, held: bool) -> None:
        store = self._store
        try:
            if _is_held(lock):
                store.finish(commit=False)
        finally:
            self._frame, self.over = None, True
            if not held and _is_held(lock):
                lock.release()


def _is_held(lock: Any) -> bool:
    """Whether this thread holds a lock; `threading.Condition` asks in the same way."""
    return bool(lock._is_owned())  # noqa: SLF001
