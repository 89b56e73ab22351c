"""A server with OpenAI's interface that misbehaves as a test tells it to."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field


@dataclass
class Asked:
    """A call that came in; `number` counts those with a body from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict
    number: int


@dataclass
class Seen:
    calls: list[Asked] = field(default_factory=list)
    running: int = 0
    most: int = 0
    gone: threading.Event = field(default_factory=threading.Event)


class Out:
    """The answer to one call."""

    def __init__(self, writer):
        self._writer = writer

    async def raw(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status=200, kind="text/event-stream", **headers):
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def reply(self, value, status=200, kind="application/json", **headers):
        text = value if isinstance(value, str) else json.dumps(value)
        await self.head(status, kind, **headers)
        await self.raw(text.encode())

    async def event(self, value):
        text = value if isinstance(value, str) else json.dumps(value)
        await self.raw(f"data: {text}\n\n".encode())

    async def say(self, text):
        await self.event(piece(content=text))

    async def end(self, reason="stop", usage=None):
        await self.event(piece(reason))
        if usage is not None:
            await self.event({"choices": [], "usage": usage})
        await self.event("[DONE]")

    async def tell(self, *texts, reason="stop", usage=None):
        """A whole good answer."""
        await self.head()
        for text in texts:
            await self.say(text)
        await self.end(reason, usage)

    def drop(self):
        """Break the connection as a crash does."""
        self._writer.transport.abort()


def piece(reason=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


class Server:
    """Runs on a thread of its own; use as a context manager.

    Args:
        answer: an async function of (asked, out) for each call with a body.
        models: the answer of /models.
    """

    def __init__(self, answer, models=None):
        self.seen = Seen()
        self._answer = answer
        self._models = models or {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 2048}]}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self):
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader, writer):
        self.seen.running += 1
        try:
            await self._call(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the last of them at the server's end
        finally:
            self.seen.running -= 1
            writer.close()

    async def _call(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        out = Out(writer)
        if method == "GET":
            await out.reply(self._models)
            return
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        asked = Asked(method, path, headers, body, len(self.seen.calls) + 1)
        self.seen.calls.append(asked)
        self.seen.most = max(self.seen.most, self.seen.running)
        work = asyncio.ensure_future(self._answer(asked, out))
        # A caller sends nothing more: what can be read is the end of the connection.
        watch = asyncio.ensure_future(reader.read())
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            self.seen.gone.set()
            work.cancel()
        watch.cancel()
        done = await asyncio.gather(work, watch, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception) and not isinstance(error, ConnectionError):
                raise error
