"""Ending a run from another thread while its own waits for the model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine, Event, Request


class Stop:
    """What ends runs: once it is set they go as if they were interrupted, at once, and the model reads on for nobody."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []

    @property
    def asked(self) -> bool:
        """Whether it was set."""
        return self._asked.is_set()

    def set(self) -> None:
        """End what runs; from any thread."""
        self._asked.set()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            end()

    def check(self) -> None:
        """Raise a KeyboardInterrupt if it was set."""
        if self.asked:
            raise KeyboardInterrupt

    def over(self, engine: Engine) -> Engine:
        """The engine, whose answers end when this is set."""
        return cast("Engine", _Stoppable(engine, self))

    def events(self, engine: Engine, requests: Iterable[Request]) -> Iterator[Event]:
        """The events of an engine.

        An engine whose events can be cancelled from another thread is told so. Of another one a thread takes them, which
        gives up at the next one.

        Raises:
            KeyboardInterrupt: this was set.
        """
        self.check()
        events: Any = iter(engine.generate(requests))
        cancel = getattr(events, "cancel", None)
        taken = self._cancelled(events, cancel) if callable(cancel) else self._apart(events)
        for event in taken:
            self.check()
            yield event
        self.check()

    def _cancelled(self, events: Any, cancel: Callable[[], None]) -> Iterator[Event]:
        try:
            with self._ended_by(cancel):
                yield from events
        finally:
            _close(events)

    def _apart(self, events: Any) -> Iterator[Event]:
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        left = threading.Event()
        try:
            with self._ended_by(lambda: inbox.put(_ENDED)):
                threading.Thread(
                    target=_take, args=(events, inbox, left), name="llmops-answer", daemon=True
                ).start()
                while (event := inbox.get()) is not _ENDED:
                    if isinstance(event, _Failed):
                        raise event.error
                    yield event
        finally:
            left.set()

    @contextmanager
    def _ended_by(self, end: Callable[[], None]) -> Iterator[None]:
        """Something that ends what runs here, for as long as it does."""
        with self._lock:
            self._ends.append(end)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


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


def _take(events: Any, inbox: queue.SimpleQueue[Any], left: threading.Event) -> None:
    """Put events into a queue until they end, or nobody waits for them any more."""
    try:
        try:
            for event in events:
                if left.is_set():
                    return
                inbox.put(event)
        finally:
            _close(events)
    except BaseException as e:  # noqa: BLE001 - it is raised on in the thread that waits
        inbox.put(_Failed(e))
    else:
        inbox.put(_ENDED)


def _close(events: Any) -> None:
    close = getattr(events, "close", None)
    if callable(close):
        close()
