"""The calls themselves: JSON and event streams over HTTP, bounded in size and time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from httpx_sse import EventSource, SSEError

from llmops_jupyter.engine.remote.faults import Fault, broken, in_answer, refused, unreachable
from llmops_jupyter.engine.remote.pieces import BrokenOffError, OddPieceError
from llmops_jupyter.engine.remote.watch import Pulse
from llmops_jupyter.errors import EngineError, OptionError

if TYPE_CHECKING:
    from llmops_jupyter.models.endpoint import Endpoint

CONNECT_S = 10.0
MEGABYTE = 1 << 20
LONGEST_ANSWER = 64 * MEGABYTE
LONGEST_REFUSAL = 64 * 1024
OTHER_FORM = "sent JSON of another form than an answer"
BOM = b"\xef\xbb\xbf"

Chunk = Mapping[str, Any]
T = TypeVar("T")


class _TooLongError(Exception):
    """More bytes came than any answer has."""


class _Body(httpx.AsyncByteStream):
    """The bytes of an answer, without a byte order mark: breaks off after so many, tells how they begin."""

    def __init__(self, inner: httpx.AsyncByteStream, most: int, pulse: Pulse) -> None:
        self._inner = inner
        self._parts = _bounded(inner, most, pulse)
        self._held = b""

    async def beginning(self) -> bytes:
        """The first bytes that are no white space, which still are to be read; b'' if there are none."""
        while len(self._held) < len(BOM) or not self._held.strip():
            part = await anext(self._parts, None)
            if part is None:
                break
            self._held += part
        self._held = self._held.removeprefix(BOM)
        return self._held.lstrip()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self.beginning()
        yield self._held
        async for part in self._parts:
            yield part

    async def aclose(self) -> None:
        await self._parts.aclose()
        await self._inner.aclose()


async def _bounded(
    inner: httpx.AsyncByteStream, most: int, pulse: Pulse
) -> AsyncGenerator[bytes, None]:
    got = 0
    async for part in inner:
        pulse.beat()
        got += len(part)
        if got > most:
            raise _TooLongError
        yield part


class Transport:
    """Connections to one endpoint. Used on one event loop.

    Args:
        endpoint: whom to call.
        whole_s: seconds that an answer may take that comes as a whole. Who streams sets a limit himself.

    Attributes:
        reached: whether the server has answered anything yet.
    """

    def __init__(self, endpoint: Endpoint, whole_s: float) -> None:
        self.endpoint = endpoint
        self.reached = False
        self._whole_s = whole_s
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
        self, url: str, body: Mapping[str, Any], take: Callable[[Chunk], bool], pulse: Pulse
    ) -> bool:
        """Hand each piece of an answer to `take` until that returns True or the answer ends.

        Returns whether the server closed the answer properly. A server that does not stream gives its whole
        answer as one piece. Whether it does is told by how the answer begins, as some servers and proxies
        give it a wrong content type.

        Raises:
            Fault, EngineError: as `post`.
        """

        async def taken(response: httpx.Response, stream: _Body, key: str) -> bool:
            kind = response.headers.get("content-type", "").lower()
            begin = await stream.beginning()
            if begin.startswith((b"{", b"[", b"<")) or not (begin or "event-stream" in kind):
                take(self._object(await self._whole(response), key))
                return True
            if "event-stream" in kind or _is_event(begin):
                response.headers["content-type"] = "text/event-stream"
                return await self._events(response, key, take)
            raise broken(self.endpoint, "sent what is no JSON and no event stream")

        return await self._called("POST", url, body, taken, pulse, None)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _json(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        async def value(response: httpx.Response, stream: _Body, key: str) -> Any:  # noqa: ARG001
            return self._value(await self._whole(response), key)

        return await self._called(method, url, body, value, Pulse(), self._whole_s)

    async def _called(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        read: Callable[[httpx.Response, _Body, str], Awaitable[T]],
        pulse: Pulse,
        silence_s: float | None,
    ) -> T:
        """What `read` makes of an answer that is no refusal; its bytes may be so far apart."""
        key = self.endpoint.key()
        fault: Fault | None = None
        try:
            async with self._open(method, url, body, key, silence_s) as response:
                self.reached = True
                return await read(response, await self._checked(response, key, pulse), key)
        except _TooLongError:
            fault = self._too_long()
        except SSEError:
            fault = broken(self.endpoint, "sent an event stream that cannot be read")
        except OddPieceError:
            fault = broken(self.endpoint, OTHER_FORM)
        except BrokenOffError as e:
            fault = broken(self.endpoint, f"broke the answer off ({e})")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as e:
            fault = self._unreachable(e)
        # Outside of the handler: the library's error holds the request with its key.
        raise fault

    def _open(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        key: str,
        silence_s: float | None,
    ) -> Any:
        if self._client is None:
            self._client = self._made()
        headers = {"accept": "text/event-stream, application/json", "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = _encoded(body)
        timeout = httpx.Timeout(silence_s, connect=CONNECT_S)
        return self._client.stream(method, url, content=content, headers=headers, timeout=timeout)

    def _made(self) -> httpx.AsyncClient:
        local = self.endpoint.local
        verify: Any = True
        if local:
            # A proxy has no business between two processes of one machine, but the variables that name
            # certificates hold there too. Without TLS, their 70 ms are saved.
            encrypted = self.endpoint.url.startswith("https:")
            verify = httpx.create_ssl_context() if encrypted else False
        return httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=not local,
            verify=verify,
        )

    async def _checked(self, response: httpx.Response, key: str, pulse: Pulse) -> _Body:
        """The body of an answer, which is bounded from now on; raises if the server refused."""
        failed = not response.is_success
        most = LONGEST_REFUSAL if failed else LONGEST_ANSWER
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = stream = _Body(response.stream, most, pulse)
        response.encoding = "utf-8"
        if not failed:
            return stream
        try:
            body = (await response.aread()).decode("utf-8", "replace")
        except _TooLongError:
            body = ""
        raise refused(self.endpoint, response.status_code, response.headers, body, key)

    async def _whole(self, response: httpx.Response) -> str:
        text = (await response.aread()).decode("utf-8", "replace")
        if "html" in response.headers.get("content-type", "").lower() or text.lstrip()[:1] == "<":
            raise Fault(
                EngineError(
                    f"{self.endpoint.url} answered with a web page, not with a model's answer. Check the "
                    "address; that of the interface usually ends in /v1."
                )
            )
        return text

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
                if event.event == "error":
                    raise in_answer(self.endpoint, data, key)
                if take(self._object(data, key)):
                    return True
        return False

    def _value(self, text: str, key: str) -> Any:
        """The JSON value of a text; one that tells of an error is raised as one."""
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        else:
            error = found.get("error") if isinstance(found, Mapping) else None
            if error:
                raise in_answer(self.endpoint, error, key)
            return found
        raise broken(self.endpoint, "sent what is no JSON")

    def _object(self, text: str, key: str) -> Chunk:
        found = self._value(text, key)
        if not isinstance(found, Mapping):
            raise broken(self.endpoint, OTHER_FORM)
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


def _is_event(begin: bytes) -> bool:
    """Whether bytes begin as an event stream does."""
    return begin.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


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
