"""Events that are sent as they come, to clients that may be slow or leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.serving.bodies import gone

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


def event(value: Mapping[str, Any]) -> bytes:
    """One event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


class EventStream:
    """A response of events.

    Args:
        events: as bytes.
        leave: called when the client has left or does not read.
        send_s: seconds that it may leave an event unread.
        headers: further ones.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        leave: Callable[[], None],
        send_s: float,
        headers: Mapping[str, str],
    ) -> None:
        self._events, self._leave, self._send_s = events, leave, send_s
        self._headers = [(k.lower().encode(), v.encode()) for k, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        left = asyncio.ensure_future(gone(receive))
        work = asyncio.ensure_future(self._work(send))
        try:
            await asyncio.wait({left, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            self._leave()
            for task in (left, work):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

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
            return  # it does not read; the connection is closed

    @staticmethod
    async def _body(send: Send, part: bytes, *, more: bool) -> None:
        await send({"type": "http.response.body", "body": part, "more_body": more})
