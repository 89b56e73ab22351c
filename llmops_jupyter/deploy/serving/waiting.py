"""Waiting for work as long as somebody waits for what comes of it, and the server does not end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from llmops_jupyter.deploy.serving.bodies import ClientGoneError, Receive, gone
from llmops_jupyter.deploy.serving.faults import ending

T = TypeVar("T")


async def while_wanted(work: Awaitable[T], receive: Receive, cut: asyncio.Event) -> T:
    """What comes of it; where nobody waits any more it is cancelled.

    Args:
        work: to wait for.
        receive: of ASGI, which tells that the client has left.
        cut: is set when the server waits for nothing any more.

    Raises:
        ClientGoneError: the client has left.
        Refusal: the server ends.
    """
    task = asyncio.ensure_future(work)
    left, over = asyncio.ensure_future(gone(receive)), asyncio.ensure_future(cut.wait())
    try:
        await asyncio.wait({task, left, over}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError if left.done() else ending()
        return task.result()
    finally:
        await end(task, left, over)


def leave_after(work: asyncio.Future[Any], leave: Callable[[], None]) -> None:
    """Give something back once work has ended for which nobody waits, however it does."""

    def ended(done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # nobody is left to be told
        leave()

    work.add_done_callback(ended)


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks that go on, and wait until they have ended, however they do."""
    for task in tasks:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
