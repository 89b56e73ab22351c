"""When a request may be sent: a bounded number at once, and pauses that a server asked for."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

BASE_S, CAP_S = 0.5, 30.0


def backoff(tries: int, random_s: random.Random) -> float:
    """Seconds before the next try after `tries` failed ones: full jitter over a doubling bound.

    After M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random_s.uniform(0, min(CAP_S, BASE_S * 2.0 ** (tries - 1)))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait, from Retry-After (seconds or an HTTP date); None if it does not."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = _number(given)
    if seconds is not None or not given:
        return seconds
    try:
        when = parsedate_to_datetime(given)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - (now or datetime.now(timezone.utc))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


class Slots:
    """So many at once; who is interactive goes before the others that wait. For one event loop.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.used = 0
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def take(self, *, interactive: bool) -> None:
        if self.used < self.count:
            self.used += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not interactive, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()
            raise

    def give(self) -> None:
        """Hand the slot to the next who waits."""
        while self._waiting and self.used <= self.count:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self.used -= 1


class Gate:
    """Holds all requests back after a server asked for a pause."""

    def __init__(self) -> None:
        self._opens_at = 0.0

    def shut(self, seconds: float) -> None:
        self._opens_at = max(self._opens_at, asyncio.get_running_loop().time() + seconds)

    async def wait(self) -> None:
        while (left := self._opens_at - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - it may be shut anew
            await asyncio.sleep(left)
