"""Whether a server is still at work on an answer, told by what it sends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SilentError(Exception):
    """Nothing came for too long."""


class Pulse:
    """When the server last sent something."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.beat()

    def beat(self) -> None:
        """Something came."""
        self._at = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds for which it is listened to."""
        return time.monotonic() - self._began

    @property
    def silence_s(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self._at


async def while_alive(
    work: Coroutine[Any, Any, T], left_s: Callable[[], float], every_s: float
) -> T:
    """What work on an answer comes to; it is cancelled where this is.

    Args:
        work: is run.
        left_s: seconds for which it is still waited, as things stand.
        every_s: how often that is asked at least.

    Raises:
        SilentError: none are left.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=min(left_s(), every_s)))[0]:
            if left_s() <= 0:
                raise SilentError
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
