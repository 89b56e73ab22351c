"""One thread that does things one after the other, for as long as there are any."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable

# Seconds after which a thread with nothing to do ends. Each new one opens the store anew.
IDLE_S = 300.0


class Worker:
    """Does what it is given in a thread of its own, which ends with the process.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._open = 0
        self._thread: threading.Thread | None = None

    def do(self, job: Callable[[], None]) -> None:
        """Do something after all else that was given."""
        with self._changed:
            self._open += 1
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing is left to do; whether that is so now."""
        until = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while self._open:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                # What was current where the thread began is none of the job's.
                contextvars.Context().run(job)
            finally:
                with self._changed:
                    self._open -= 1
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """The next thing to do; None if the thread is to end."""
        try:
            job = self._jobs.get(timeout=IDLE_S)
        except queue.Empty:
            job = None
        with self._changed:
            if job is None and self._open == 0:
                self._thread = None
                return None
        return job if job is not None else self._next()
