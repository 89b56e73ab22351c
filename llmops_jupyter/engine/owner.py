"""One thread that owns native objects, so that the thread that asks can always be interrupted."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from llmops_jupyter.errors import EngineError

T = TypeVar("T")
JOIN_S = 5.0
CLOSED = "This engine is closed. Open the workspace again with lo.open()."


class Owner:
    """Runs jobs on its own thread; between them, `step` as long as it returns True."""

    def __init__(self, name: str, step: Callable[[], bool] = bool) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._step = step
        self._pid = os.getpid()
        self.closed = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Put a job at the end of the queue. The job itself hands over its results and errors.

        Raises:
            EngineError: the owner is closed, or this is another process since a fork.
        """
        if self.closed:
            raise EngineError(CLOSED)
        if os.getpid() != self._pid:
            raise EngineError(
                "An engine cannot be used after a fork. Open the workspace in the new process."
            )
        self._jobs.put(job)

    def call(self, job: Callable[[], T]) -> T:
        """Run a job and wait for its result; the wait can be interrupted, the job goes on."""
        answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def run() -> None:
            try:
                answers.put((True, job()))
            except BaseException as e:  # noqa: BLE001 - raised again by the caller
                answers.put((False, e))

        self.submit(run)
        good, value = answers.get()
        if not good:
            raise value
        result: T = value
        return result

    def close(self, last: Callable[[], None]) -> None:
        """Run a last job and end the thread. Safe to call twice, and in a forked child."""
        if self.closed:
            return
        self.closed = True
        if os.getpid() != self._pid:
            return
        self._jobs.put(last)
        self._jobs.put(None)
        self._thread.join(JOIN_S)

    def _loop(self) -> None:
        working = False
        while True:
            try:
                job = self._jobs.get(block=not working)
            except queue.Empty:
                working = self._step()
                continue
            if job is None:
                return
            job()
            working = True
            # A kept reference would keep the request's objects alive until the next job.
            del job
