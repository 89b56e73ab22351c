"""The events of one call of `generate`, taken by the thread that asked."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from llmops_jupyter.engine.protocol import Event, Finished, Request


class Running(Protocol):
    """A request that was handed over."""

    def cancel(self) -> None:
        """Let it end at its next step; from any thread."""


Submit = Callable[[Request, Callable[[Event], None], object], Running | None]


class Stream(Iterator[Event]):
    """Hands requests over as there is room, and their events back as they come.

    Args:
        requests: taken in the thread that iterates, at most `ahead` before they have ended.
        submit: starts a request; its events go to the function that it is given.
        ahead: how many requests may be open at once.
    """

    def __init__(self, requests: Iterable[Request], submit: Submit, ahead: int) -> None:
        self._requests = iter(requests)
        self._submit = submit
        self._ahead = ahead
        self._events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        self._running: dict[int, Running | None] = {}
        # Rows know their caller by this, and not by the stream, which must be free to go.
        self._client = object()
        self._number = 0
        self._over = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Event:
        try:
            self._fill()
            if not self._running:
                raise StopIteration
            number, event = self._events.get()
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise
        if isinstance(event, Finished):
            del self._running[number]
        return event

    def cancel(self) -> None:
        """Drop what is still open at the next step, and take nothing more; from any thread."""
        self._over = True
        for row in list(self._running.values()):
            if row is not None:
                row.cancel()

    def close(self) -> None:
        """As `cancel`; the stream gives nothing more."""
        self.cancel()
        self._running.clear()
        close: Any = getattr(self._requests, "close", None)
        if callable(close):
            close()

    def __del__(self) -> None:
        self.cancel()

    def _fill(self) -> None:
        while not self._over and len(self._running) < self._ahead:
            request = next(self._requests, None)
            if request is None:
                self._over = True
                return
            self._number += 1
            put = functools.partial(_put, self._events, self._number)
            self._running[self._number] = self._submit(request, put, self._client)


def _put(target: queue.SimpleQueue[tuple[int, Event]], number: int, event: Event) -> None:
    target.put((number, event))
