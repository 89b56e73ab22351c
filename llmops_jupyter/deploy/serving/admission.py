"""Who may come in: so many at once, so many that wait, so many a minute; the rest gets status 429 and when to come again."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque

from llmops_jupyter.deploy.serving.faults import RATE, Refusal
from llmops_jupyter.deploy.serving.limits import Limits

LONGEST_S = 60


class Gate:
    """Places for answers that are written at once, given in the order in which they were asked for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.running = 0
        self.seconds = 1.0  # that a request takes, lately
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    async def enter(self, places: int) -> None:
        """Wait for places.

        Raises:
            Refusal: too many wait already, or it takes too long.
        """
        places = min(places, self._limits.running)
        if not self._waiting and self.running + places <= self._limits.running:
            self.running += places
            return
        if len(self._waiting) >= self._limits.waiting:
            raise self._full()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (places, future)
        self._waiting.append(entry)
        try:
            # Not wait_for, which may keep it to itself that it was cancelled.
            await asyncio.wait({future}, timeout=self._limits.wait_s)
        except asyncio.CancelledError:
            if future.done():  # it came in the moment in which nobody waited any more
                self.leave(places)
            else:
                self._give_up(entry)
            raise
        if not future.done():
            self._give_up(entry)
            raise self._full()

    def _give_up(self, entry: tuple[int, asyncio.Future[None]]) -> None:
        entry[1].cancel()
        self._waiting.remove(entry)
        self._admit()

    def leave(self, places: int, seconds: float | None = None) -> None:
        """Give places back, after so many seconds."""
        self.running -= min(places, self._limits.running)
        if seconds is not None:
            self.seconds += 0.2 * (seconds - self.seconds)
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            places, future = self._waiting[0]
            if self.running + places > self._limits.running:
                return
            self._waiting.popleft()
            self.running += places
            future.set_result(None)

    def _full(self) -> Refusal:
        rounds = (len(self._waiting) + 1) / self._limits.running
        after = max(1, min(LONGEST_S, math.ceil(rounds * self.seconds)))
        return Refusal(
            429,
            f"The server is busy: {self.running} answers are written and {len(self._waiting)} requests wait. Send it again "
            f"in {after} s.",
            RATE,
            "server_busy",
            headers={"Retry-After": str(after)},
        )


class Rates:
    """Requests a minute of each key, as a bucket that fills steadily."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, per_minute: int | None) -> None:
        """Count a request.

        Raises:
            Refusal: the key has had its requests of this minute.
        """
        if per_minute is None:
            return
        now, rate = time.monotonic(), per_minute / 60
        left, since = self._buckets.get(key, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * rate)
        if left < 1:
            self._buckets[key] = (left, now)
            after = math.ceil((1 - left) / rate)
            raise Refusal(
                429,
                f"This key has {per_minute} requests a minute. Send it again in {after} s.",
                RATE,
                "rate_limit_exceeded",
                headers={"Retry-After": str(after)},
            )
        self._buckets[key] = (left - 1, now)
