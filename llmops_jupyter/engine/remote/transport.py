"""The calls themselves: JSON and event streams over HTTP, bounded in size and time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
from httpx_sse import EventSource, SSEError

from llmops_jupyter.engine.remote.faults import Fault, broken, in_stream, refused, unreachable
from llmops_jupyter.errors import EngineError, OptionError

if TYPE_CHECKING:
    from llmops_jupyter.models.endpoint import Endpoint

CONNECT_S = 10.0
MEGABYTE = 1 << 20
LONGEST_ANSWER = 64 * MEGABYTE
LONGEST_REFUSAL = 64 * 1024

Chunk = Mapping[str, Any]


class _TooLongError(Exception):
    """More bytes came than any answer has."""


class _Bounded(httpx.AsyncByteStream):
    """A stream that breaks off after so many bytes."""

    def __init__(self, inner: httpx.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        got = 0
        async for part in self._inner:
            got += len(part)
            if got > self._most:
                raise _TooLongError
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


class Transport:
    """Connections to one endpoint. Used on one event loop.

    Args:
        endpoint: whom to call.
        idle_s: seconds without a byte after which a call has failed.
    """

    def __init__(self, endpoint: Endpoint, idle_s: float) -> None:
        self.endpoint = endpoint
        self._idle_s = idle_s
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """The JSON value that a call answers with.

        Raises:
            Fault: it failed.
            EngineError: the key is not there.
        """
        return await self._json("POST", url, body)

    async def get(self, url: str) -> Any:
        """As `post`, without a body."""
        return await self._json("GET", url, None)

    async def stream(
        self, url: str, body: Mapping[str, Any], take: Callable[[Chunk], bool]
    ) -> bool:
        """Hand each piece of an answer to `take` until that returns True or the answer ends.

        Returns whether the server closed the answer properly. A server that does not stream gives its whole
        answer as one piece.

        Raises:
            Fault, EngineError: as `post`.
        """
        key = self.endpoint.key()
        fault: Fault | None = None
        try:
            async with self._open("POST", url, body, key) as response:
                await self._check(response, key)
                if "text/event-stream" not in response.headers.get("content-type", "").lower():
                    take(self._object(await self._whole(response)))
                    return True
                return await self._events(response, key, take)
        except _TooLongError:
            fault = self._too_long()
        except SSEError:
            fault = broken(self.endpoint, "sent an event stream that cannot be read")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as e:
            fault = self._unreachable(e)
        # Outside of the handler: the library's error holds the request with its key.
        raise fault

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _json(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        key = self.endpoint.key()
        fault: Fault | None = None
        try:
            async with self._open(method, url, body, key) as response:
                await self._check(response, key)
                return self._value(await self._whole(response))
        except _TooLongError:
            fault = self._too_long()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as e:
            fault = self._unreachable(e)
        raise fault

    def _open(self, method: str, url: str, body: Mapping[str, Any] | None, key: str) -> Any:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(self._idle_s, connect=CONNECT_S, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
                # A proxy has no business between two processes of one machine.
                trust_env=not self.endpoint.local,
            )
        headers = {"accept": "text/event-stream, application/json", "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = _encoded(body)
        return self._client.stream(method, url, content=content, headers=headers)

    async def _check(self, response: httpx.Response, key: str) -> None:
        """Bound what follows, and raise if the server refused."""
        failed = not response.is_success
        most = LONGEST_REFUSAL if failed else LONGEST_ANSWER
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Bounded(response.stream, most)
        response.encoding = "utf-8"
        if not failed:
            return
        try:
            body = (await response.aread()).decode("utf-8", "replace")
        except _TooLongError:
            body = ""
        raise refused(self.endpoint, response.status_code, response.headers, body, key)

    async def _whole(self, response: httpx.Response) -> str:
        kind = response.headers.get("content-type", "")
        if "html" in kind.lower():
            raise Fault(
                EngineError(
                    f"{self.endpoint.url} answered with a web page, not with a model's answer. Check the "
                    "address; that of the interface usually ends in /v1."
                )
            )
        return (await response.aread()).decode("utf-8", "replace")

    async def _events(
        self, response: httpx.Response, key: str, take: Callable[[Chunk], bool]
    ) -> bool:
        async with aclosing(EventSource(response).aiter_sse()) as events:
            async for event in events:
                data = event.data.strip()
                if data == "[DONE]":
                    return True
                if not data:
                    continue
                chunk = self._object(data)
                error = chunk.get("error") or (chunk if event.event == "error" else None)
                if error:
                    raise in_stream(self.endpoint, error, key)
                if take(chunk):
                    return True
        return False

    def _value(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            pass
        raise broken(self.endpoint, "sent what is no JSON")

    def _object(self, text: str) -> Chunk:
        found = self._value(text)
        if not isinstance(found, Mapping):
            raise broken(self.endpoint, "sent JSON of another form than an answer")
        return found

    def _too_long(self) -> Fault:
        return Fault(
            EngineError(
                f"{self.endpoint.url} sent more than {LONGEST_ANSWER // MEGABYTE} MB for one answer, which was "
                "broken off. Check the server, or ask for fewer tokens with --max-tokens."
            )
        )

    def _unreachable(self, failure: Exception) -> Fault:
        if isinstance(failure, httpx.StreamError):
            return broken(self.endpoint, "broke the answer off")
        assert isinstance(failure, httpx.HTTPError | httpx.InvalidURL)
        return unreachable(self.endpoint, failure)


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        pass
    except (TypeError, ValueError) as e:
        raise OptionError(f"The request holds what JSON cannot: {e}. Correct it.") from e
    raise OptionError(
        "The prompt is not valid Unicode. It was probably decoded with the wrong encoding: read the text "
        "again with encoding='utf-8'."
    )
