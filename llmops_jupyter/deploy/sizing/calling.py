"""One request of a load: sent, read as it streams, sent again where the server says to wait."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_jupyter.engine.remote.pace import backoff, retry_after

FULL = (429, 503)
# Kinds of ends that are no faults of the server: the load was over, or the user broke it off.
CUT = "cut off"


@dataclass
class Call:
    """What became of a request; times are seconds, `at` and `due` from the beginning of the level.

    Args:
        due: when it was to be sent.
        at: when it was sent.
        ttft: from `due` to the first piece with text, waits for a full server included; None if none came.
        total: from `due` to its end.
        pieces: when each piece with text came, from `due`.
        tokens: of the answer: as the server counted, else the number of pieces.
        input_tokens: as the server counted; None if it did not say.
        counted: whether the server counted.
        error: kind of the fault; '' for none.
        waits: for each time that the server was full, when that was, from `due`, and for how long it was waited.
    """

    due: float
    at: float
    ttft: float | None = None
    total: float = 0.0
    pieces: list[float] = field(default_factory=list)
    tokens: int = 0
    input_tokens: int | None = None
    counted: bool = False
    error: str = ""
    waits: list[tuple[float, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON values, times to the hundredth of a millisecond."""
        values = {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}
        waits = [[round(at, 5), round(waited, 5)] for at, waited in self.waits]
        return {**values, "pieces": [round(x, 5) for x in self.pieces], "waits": waits}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Call:
        """A call from what `as_dict` gave."""
        return cls(**{**values, "waits": [(at, waited) for at, waited in values["waits"]]})


class BrokenStreamError(Exception):
    """A stream ended otherwise than it should; the message is the kind."""


@dataclass(frozen=True)
class Asked:
    """Where and how requests are sent.

    Args:
        client: httpx's.
        path: of the chat endpoint.
        body: that all requests share.
        timeout_s: of a request with all its tries.
        retries: how often a full server is asked again.
    """

    client: Any
    path: str
    body: Mapping[str, Any]
    timeout_s: float
    retries: int


async def call(asked: Asked, messages: Any, due: float, start: float) -> Call:
    """Send one request and read its answer; what goes wrong is in the record.

    Args:
        asked: where and how.
        messages: of the prompt.
        due: when it was to be sent, in seconds from `start`.
        start: of the level, by `time.perf_counter`.
    """
    import httpx

    made = Call(due, time.perf_counter() - start)
    begun = start + due
    try:
        await asyncio.wait_for(_tried(asked, messages, made, begun), asked.timeout_s)
    except (TimeoutError, asyncio.TimeoutError, httpx.TimeoutException):
        made.error = "timeout"
    except asyncio.CancelledError:
        made.error = CUT
    except BrokenStreamError as e:
        made.error = str(e)
    except httpx.ConnectError:
        made.error = "no connection"
    except (httpx.HTTPError, OSError):
        made.error = "broken stream" if made.pieces else "broken connection"
    made.total = time.perf_counter() - begun
    if not made.counted:
        made.tokens = len(made.pieces)
    return made


async def _tried(asked: Asked, messages: Any, made: Call, begun: float) -> None:
    """Ask until the server takes it, as often as is allowed."""
    pauses = random.Random(f"{made.due}")  # noqa: S311 - jitter
    while True:
        body = {**asked.body, "messages": messages}
        async with asked.client.stream("POST", asked.path, json=body) as response:
            if response.status_code in FULL and len(made.waits) < asked.retries:
                await response.aread()
                asked_s = retry_after(response.headers)
                pause = backoff(len(made.waits) + 1, pauses) if asked_s is None else asked_s
            else:
                await _read(response, made, begun)
                return
        before = time.perf_counter()
        try:
            await asyncio.sleep(pause)
        finally:
            made.waits.append((before - begun, time.perf_counter() - before))


async def _read(response: Any, made: Call, begun: float) -> None:
    """Read the events of an answer."""
    from httpx_sse import EventSource, SSEError

    if response.status_code != 200:
        await response.aread()
        raise BrokenStreamError(f"HTTP {response.status_code}")
    ended = False
    try:
        async for event in EventSource(response).aiter_sse():
            now = time.perf_counter() - begun
            if event.data.strip() == "[DONE]":
                ended = True
                break
            ended = _take(event.data, made, now) or ended
    except SSEError as e:
        raise BrokenStreamError("no event stream") from e
    if not ended:
        raise BrokenStreamError("broken stream")
    if not made.pieces:
        raise BrokenStreamError("empty answer")


def _take(data: str, made: Call, now: float) -> bool:
    """Put an event into the record; whether it says that the answer is at its end."""
    try:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise TypeError
        if found.get("error"):
            raise BrokenStreamError("error in the stream")
        choice = (found.get("choices") or [{}])[0]
        delta = choice.get("delta") or {}
        usage = found.get("usage")
    except (ValueError, TypeError, AttributeError, LookupError) as e:
        raise BrokenStreamError("not JSON") from e
    if delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls"):
        made.pieces.append(now)
        if made.ttft is None:
            made.ttft = now
    if isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int):
        made.tokens, made.counted = usage["completion_tokens"], True
        made.input_tokens = usage.get("prompt_tokens")
    return bool(choice.get("finish_reason"))
