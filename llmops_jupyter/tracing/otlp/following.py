"""Sending in the background: a thread that follows the store and ends with the process."""

from __future__ import annotations

import atexit
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from llmops_jupyter.errors import LLMOpsError, SendError
from llmops_jupyter.tracing.otlp.sending import LONGEST_WAIT_S, Sender

# Seconds between two looks into the store.
POLL_S = 5.0
# Seconds of rest between two spans that are made ready, so that a cell goes first.
REST_S = 0.0005
# Seconds that closing waits for what is left, and then for a request that is under way.
CLOSE_S, GRACE_S = 5.0, 1.0
NICE = 10


class Follower:
    """Sends what comes into the store, until it is closed.

    Args:
        sender: of the endpoint; it is given back when the follower ends.
        stop: the event that the sender ends by.
    """

    def __init__(self, sender: Sender, stop: threading.Event) -> None:
        self.url = sender.endpoint.url
        self.owner = sender.ledger.owner
        self.error = ""
        self._sender = sender
        self._stop = stop
        self._poll_s = POLL_S
        self._closing = threading.Event()
        self._beat_at = time.monotonic()
        self._at_exit = _closing(self)
        self._thread = threading.Thread(target=self._run, name="llmops-send", daemon=True)
        self._sender.pause = self._rest
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it sends still."""
        return self._thread.is_alive()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send what is left, for so many seconds at most; what is not sent then waits in the store."""
        atexit.unregister(self._at_exit)
        self._closing.set()
        if self._sender.error:  # it waits for the endpoint to come back
            self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
            self._stop.set()
            self._thread.join(GRACE_S)

    def _run(self) -> None:
        _step_back()
        try:
            while True:
                last = self._closing.is_set()
                self._once()
                if last or self._stop.is_set() or self._sender.ledger.store.closed:
                    return
                wait = self._poll_s if not self.error else min(LONGEST_WAIT_S, 6 * self._poll_s)
                self._closing.wait(wait)
        finally:
            self._end()

    def _once(self) -> None:
        try:
            if time.monotonic() - self._beat_at > self._poll_s * 6:
                self._beat_at = time.monotonic()
                self._sender.ledger.beat()
            self._sender.all()
            self.error = ""
        except (LLMOpsError, sqlite3.Error, OSError) as e:
            self.error = " ".join(str(e).split())
            with suppress(LLMOpsError, sqlite3.Error):
                self._sender.ledger.failed(self.error)
            if isinstance(e, SendError) and self._lost():
                self._stop.set()

    def _lost(self) -> bool:
        """Whether another sender has the endpoint now."""
        try:
            self._sender.ledger.beat()
        except SendError:
            return True
        except (LLMOpsError, sqlite3.Error):
            return False
        return False

    def _rest(self) -> None:
        if not self._closing.is_set():
            time.sleep(REST_S)

    def _end(self) -> None:
        with suppress(Exception):  # the store may be closed, and the interpreter end
            self._sender.close()
        with suppress(LLMOpsError, sqlite3.Error):
            if not self._sender.ledger.store.closed:
                self._sender.ledger.release()


def _step_back() -> None:
    """Give this thread a lower priority where a thread has one of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _closing(follower: Follower) -> Callable[[], None]:
    """Have a follower send what is left when the process ends, if it lives until then."""
    known = weakref.ref(follower)

    def close() -> None:
        found = known()
        if found is not None:
            found.close()

    atexit.register(close)
    return close
