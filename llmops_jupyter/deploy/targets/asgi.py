"""A request to an ASGI application in this process, answered as the application answers it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request of HTTP in plain values, which can be sent to another process.

    Args:
        method: such as POST.
        path: such as /v1/chat/completions.
        query: what stands behind the question mark.
        headers: names in small letters.
        body: all of it.
    """

    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": "",
            "headers": [list(pair) for pair in self.headers],
            "client": None,
            "server": None,
        }


@dataclass(frozen=True)
class Begun:
    """The beginning of an answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def streams(self) -> bool:
        """Whether events follow one by one."""
        return dict(self.headers).get(b"content-type", b"").startswith(b"text/event-stream")


async def answers(app: Any, asked: Asked) -> AsyncIterator[Begun | bytes]:
    """The beginning, then the body piece by piece. Closing it says to the application that the client has left."""
    out: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue(maxsize=64)
    left, given = asyncio.Event(), False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": asked.body, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        try:
            await app(asked.scope(), receive, out.put)
        finally:
            await out.put(None)

    task = asyncio.ensure_future(run())
    try:
        while (message := await out.get()) is not None:
            if message["type"] == "http.response.start":
                pairs = tuple((bytes(k).lower(), bytes(v)) for k, v in message.get("headers", ()))
                yield Begun(int(message["status"]), pairs)
            elif message.get("body"):
                yield bytes(message["body"])
        await task
    finally:
        left.set()
        if not task.done():
            with contextlib.suppress(asyncio.TimeoutError, asyncio.CancelledError, Exception):
                await asyncio.wait_for(task, 1.0)
