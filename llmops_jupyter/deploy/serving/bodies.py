"""Reading bodies within limits, and noticing that a client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.deploy.serving.limits import DISCARDED, Limits

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


async def read(receive: Receive, announced: str | None, limits: Limits) -> bytes:
    """The body of a request.

    Args:
        receive: of ASGI.
        announced: the header Content-Length.
        limits: of the server.

    Raises:
        Refusal: it is too large, or does not come.
        ClientGoneError: the client has left.
    """
    most = limits.body_bytes
    parts: list[bytes] = []
    size, limit = 0, DISCARDED if _is_more(announced, most) else most
    loop = asyncio.get_running_loop()
    until = loop.time() + limits.body_s
    try:
        while True:
            message = await asyncio.wait_for(receive(), max(0.0, until - loop.time()))
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size <= most:
                parts.append(part)
            else:
                # What is too long is read on and thrown away, so that the client gets to read why.
                parts.clear()
                limit = DISCARDED
            if size > limit or not message.get("more_body", False):
                break
    except asyncio.TimeoutError as e:
        raise Refusal(
            408, f"The body did not come within {limits.body_s:g} s. Send it again.", code="timeout"
        ) from e
    if size > most:
        raise Refusal(
            413,
            f"The body is larger than {most:,} bytes. Send less.",
            code="request_too_large",
            headers={"Connection": "close"},
        )
    return b"".join(parts)


async def gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_more(announced: str | None, most: int) -> bool:
    return announced is not None and announced.isdigit() and int(announced) > most
