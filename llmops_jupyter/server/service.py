"""What all routes share: the threads that do the work, the workspaces that there are, those that are open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.server.handles import Handles
from llmops_jupyter.server.workers import Workers
from llmops_jupyter.server.workspaces import Workspaces

T = TypeVar("T")
# Questions that wait for a thread; more are turned away.
MOST_WAITING = 64


class ServerBusyError(LLMOpsError):
    """More is asked at once than can be answered, or the server is stopping."""


class Service:
    """The work of the extension, away from the event loop.

    Args:
        root: the folder that the server shows; only workspaces below it are served.
        threads: that work.
        handles: workspaces that are kept open.
        enclosing: also serve the workspace that a kernel in `root` uses, where it lies above.
    """

    def __init__(
        self, root: Path, *, threads: int = 4, handles: int = 8, enclosing: bool = True
    ) -> None:
        self.root = root
        self.workspaces = Workspaces(root, enclosing=enclosing)
        self.workers = Workers()
        self.handles = Handles(self.workers, most=handles)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="llmops-server")
        self._asked = 0
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, done by a thread. Who stops waiting takes it back, if it has not begun.

        Raises:
            ServerBusyError: too many wait already.
        """
        if self._closed or self._asked >= MOST_WAITING:
            raise ServerBusyError(
                "The server is answering many questions at once. Try again in a moment."
            )
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._asked -= 1

    def close(self) -> None:
        """End the threads and close all stores. Safe to call twice."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.handles.close()
