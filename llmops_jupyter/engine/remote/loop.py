"""A thread with an event loop on it, so that the thread that asks can always be interrupted."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from llmops_jupyter.engine.owner import CLOSED, JOIN_S
from llmops_jupyter.errors import EngineError

T = TypeVar("T")


class Loop:
    """Runs coroutines on a daemon thread of its own until it is closed.

    Args:
        name: of the thread.
        leave: called on the thread at the end, when nothing runs any more.
    """

    def __init__(self, name: str, leave: Callable[[], Awaitable[None]]) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self.closed = False
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._main(leave),), name=name, daemon=True
        )
        self._thread.start()
        self._started.wait()

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a coroutine; cancelling the future cancels it.

        Raises:
            EngineError: the loop is closed, or this is another process since a fork.
        """
        if os.getpid() != self._pid:
            raise EngineError(
                "An engine cannot be used after a fork. Open the workspace in the new process."
            )
        with self._lock:
            if self.closed or self._loop is None:
                raise EngineError(CLOSED)
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def close(self) -> None:
        """Cancel what runs and end the thread. Safe to call twice, and in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self.closed:
                return
            self.closed = True
            if self._loop is not None and self._stop is not None:
                # What was submitted before has become a task by then, and is cancelled as one.
                self._loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    async def _main(self, leave: Callable[[], Awaitable[None]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await leave()
