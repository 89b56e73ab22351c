"""The answers of a worker to one call: requests go out as there is room, and their events come back."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any

from llmops_jupyter.config import check_sampling
from llmops_jupyter.engine.protocol import Event, Finished, Request, Token
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.channel import Call, Channel
from llmops_jupyter.engine.worker.wire import WireError
from llmops_jupyter.errors import EngineError, LLMOpsError, OptionError
from llmops_jupyter.records import Timing, Usage


class Answers(Iterator[Event]):
    """The events of one call, which another thread may end. The call is opened when the first event is asked for.

    Args:
        channel: to the worker.
        requests: taken in the thread that iterates.
        ahead: how many may be open at once.
    """

    def __init__(self, channel: Channel, requests: Iterable[Request], ahead: int) -> None:
        self._calls = _Calls()
        # What runs knows nothing of this object, which is free to go: then it is closed, and the worker told.
        self._events = _events(self._calls, channel, requests, ahead)

    def __next__(self) -> Event:
        return next(self._events)

    def cancel(self) -> None:
        """Drop what is open, also while the model still reads it, and give nothing more; from any thread."""
        self._calls.give_up()

    def close(self) -> None:
        """As `cancel`, in the thread that iterates."""
        self._events.close()


class _Calls:
    """The call of some answers once it is open, and whether it is wanted."""

    def __init__(self) -> None:
        self.wanted = True
        self._call: Call | None = None

    def opened(self, call: Call) -> None:
        self._call = call
        if not self.wanted:
            call.give_up()

    def give_up(self) -> None:
        self.wanted = False
        if self._call is not None:
            self._call.give_up()


def _events(
    calls: _Calls, channel: Channel, requests: Iterable[Request], ahead: int
) -> Generator[Event, None, None]:
    channel.check()
    call = channel.open("generate", {})
    try:
        calls.opened(call)
        yield from _Stream(call, requests, ahead).events()
    finally:
        call.close()


class _Open:
    """A request that has not ended, and what has come of it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.pieces: list[str] = []
        self.began = time.perf_counter()
        self.first: float | None = None

    def token(self, text: str) -> Token:
        if self.first is None:
            self.first = time.perf_counter() - self.began
        self.pieces.append(text)
        return Token(self.request.id, text)

    def failed(self, error: LLMOpsError) -> Finished:
        """The end of a request that the worker did not bring to one."""
        total = time.perf_counter() - self.began
        return Finished(
            self.request.id,
            "".join(self.pieces),
            "error",
            Usage(output_tokens=len(self.pieces)),
            Timing(total, self.first),
            self.request.sampling.seed or 0,
            error=error,
        )


class _Stream:
    """The client's side of a generate: at most `ahead` requests are out, unless the engine wants more."""

    def __init__(self, call: Call, requests: Iterable[Request], ahead: int) -> None:
        self._call = call
        self._requests = iter(requests)
        self._ahead = ahead
        self._open: dict[str, _Open] = {}
        # Ids of our own making: a caller's may be equal to each other, or to another client's.
        self._prefix = f"{os.getpid()}.{call.number}."
        self._sent = 0
        self._exhausted = False

    def events(self) -> Iterator[Event]:
        yield from self._fill()
        while True:
            message = self._call.receive()
            if self._call.given_up:
                return
            if message is None:
                yield from self._lost()
                return
            if "error" in message:
                raise wire.read_error(message["error"])
            if "done" in message:
                return
            if "want" in message:
                yield from self._send_next()
            else:
                yield self._event(message["event"])
            yield from self._fill()

    def _fill(self) -> Iterator[Event]:
        while not self._exhausted and len(self._open) < self._ahead:
            yield from self._send_next()

    def _send_next(self) -> Iterator[Event]:
        """Send a request; one that has no form on the wire ends here."""
        opened = self._take()
        if opened is None:
            return
        number = f"{self._prefix}{self._sent}"
        self._sent += 1
        try:
            request = opened.request
            # Here too: what it accepts besides the plain kinds has no form of its own on the wire.
            request = replace(request, sampling=check_sampling(request.sampling))
            self._call.send("request", request=wire.request_value(request, number))
        except OptionError as e:
            yield opened.failed(e)
            return
        self._open[number] = opened

    def _take(self) -> _Open | None:
        if self._exhausted:
            return None
        request = next(self._requests, None)
        if request is None:
            self._exhausted = True
            self._call.send("end")
            return None
        return _Open(request)

    def _event(self, value: Any) -> Event:
        try:
            event = wire.read_event(value)
            if isinstance(event, Token):
                return self._open[event.request_id].token(event.text)
            opened = self._open.pop(event.request_id)
        except (WireError, KeyError) as e:
            raise EngineError(f"The worker's answer cannot be read: {e}. Run again.") from e
        fields = {**vars(event), "request_id": opened.request.id}
        return Finished(**fields)

    def _lost(self) -> Iterator[Event]:
        """End what is open with what there is of it; raise if more was to come."""
        error = self._call.channel.error
        for opened in list(self._open.values()):
            yield opened.failed(self._call.channel.error)
        extra = self._take()
        if extra is not None:
            yield extra.failed(self._call.channel.error)
            raise error
