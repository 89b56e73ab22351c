"""Ending a run from another thread while its own waits for the model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine, Event, Request


class Stop:
    """What ends runs: once it is set they go as if they were interrupted, at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[queue.SimpleQueue[Any]] = []

    @property
    def asked(self) -> bool:
        """Whether it was set."""
        return self._asked.is_set()

    def set(self) -> None:
        """End what runs; from any thread."""
        self._asked.set()
        with self._lock:
            for inbox in self._waiting:
                inbox.put(_ENDED)

    def check(self) -> None:
        """Raise a KeyboardInterrupt if it was set."""
        if self.asked:
            raise KeyboardInterrupt

    def over(self, engine: Engine) -> Engine:
        """The engine, whose answers end when this is set."""
        return cast("Engine", _Stoppable(engine, self))

    def events(self, engine: Engine, requests: Iterable[Request]) -> Iterator[Event]:
        """The events of an engine, taken by a thread of their own, which gives up at the next one.

        Raises:
            KeyboardInterrupt: this was set.
        """
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        left = threading.Event()
        with self._lock:
            self._waiting.append(inbox)
        try:
            self.check()
            threading.Thread(
                target=_take,
                args=(engine, requests, inbox, left),
                name="llmops-answer",
                daemon=True,
            ).start()
            while (event := inbox.get()) is not _ENDED:
                self.check()
                if isinstance(event, _Failed):
                    raise event.error
                yield event
            self.check()
        finally:
            left.set()
            with self._lock:
                self._waiting.remove(inbox)


_ENDED = object()


class _Failed:
    """What an engine has raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Stoppable:
    """An engine whose answers can be ended from another thread; all else is that engine's."""

    def __init__(self, engine: Engine, stop: Stop) -> None:
        self._engine, self._stop = engine, stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        return self._stop.events(self._engine, requests)


def _take(
    engine: Engine,
    requests: Iterable[Request],
    inbox: queue.SimpleQueue[Any],
    left: threading.Event,
) -> None:
    """Put the events of an engine into a queue until they end, or nobody waits for them any more."""
    try:
        events: Any = iter(engine.generate(requests))
        try:
            for event in events:
                if left.is_set():
                    return
                inbox.put(event)
        finally:
            close = getattr(events, "close", None)
            if callable(close):
                close()
    except BaseException as e:  # noqa: BLE001 - it is raised on in the thread that waits
        inbox.put(_Failed(e))
    else:
        inbox.put(_ENDED)
