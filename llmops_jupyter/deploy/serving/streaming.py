"""Events that are sent as they come, to clients that may be slow or leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.serving.bodies import gone
from llmops_jupyter.deploy.serving.faults import ending
from llmops_jupyter.deploy.serving.running import Running
from llmops_jupyter.deploy.serving.waiting import end

if TYPE_CHECKING:
    from llmops_jupyter.deploy.serving.door import Receive, Scope, Send

DONE = b"data: [DONE]\n\n"
# A comment, by which proxies see that the connection lives.
ALIVE, ALIVE_S = b": waiting\n\n", 10.0
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
# Why a stream ended before its end, for the log.
LEFT, SLOW = "client_left", "client_too_slow"


def event(value: Mapping[str, Any]) -> bytes:
    """One event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


class EventStream:
    """A response of events.

    Args:
        events: as bytes.
        running: what they are of: cancelled when the client has left or does not read.
        cut: is set when the server waits for nothing any more; the last event then says so.
        send_s: seconds that the client may leave an event unread.
        headers: further ones.
        note: gets the reason where nobody takes the end.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        running: Running,
        cut: asyncio.Event,
        send_s: float,
        headers: Mapping[str, str],
        note: Callable[[str], None],
    ) -> None:
        self._events, self._running, self._cut = events, running, cut
        self._send_s, self._note = send_s, note
        self._headers = [(k.lower().encode(), v.encode()) for k, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        left, cut = asyncio.ensure_future(gone(receive)), asyncio.ensure_future(self._cut.wait())
        work = asyncio.ensure_future(self._work(send))
        try:
            await asyncio.wait({left, cut, work}, return_when=asyncio.FIRST_COMPLETED)
            if not (left.done() or work.done()):
                self._running.break_off(ending())
                await asyncio.wait({left, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                self._note(LEFT)
        finally:
            self._running.cancel()
            await end(left, cut, work)

    async def _work(self, send: Send) -> None:
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [*HEADERS, *self._headers],
                }
            )
            async for part in self._events:
                await asyncio.wait_for(self._body(send, part, more=True), self._send_s)
            await asyncio.wait_for(self._body(send, b"", more=False), self._send_s)
        except asyncio.TimeoutError:
            self._note(SLOW)  # the connection is closed

    @staticmethod
    async def _body(send: Send, part: bytes, *, more: bool) -> None:
        await send({"type": "http.response.body", "body": part, "more_body": more})
