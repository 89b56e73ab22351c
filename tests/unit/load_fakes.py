"""A server with OpenAI's interface that takes as long as it is told, on a thread, over a real socket."""

from __future__ import annotations

import asyncio
import json
import threading

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from uvicorn import Config, Server


class Served:
    """Streams `pieces` pieces, the first after `first_s`, the others `gap_s` apart.

    Args:
        room: requests that it takes at once; further ones get 429 with `wait` as Retry-After.
        usage: whether it counts tokens: two for each piece.
        fault: called with the number of a request, gives a status, 'break', 'error', 'html', 'empty', or None.
    """

    def __init__(
        self, pieces=4, first_s=0.0, gap_s=0.0, room=10_000, wait="0.05", usage=True, fault=None
    ):
        self.pieces, self.first_s, self.gap_s = pieces, first_s, gap_s
        self.room, self.wait, self.usage, self.fault = room, wait, usage, fault or (lambda _: None)
        self.seen, self.running, self.most, self.refused, self.headers = [], 0, 0, 0, []
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]
        config = Config(
            Starlette(routes=routes),
            port=0,
            log_level="critical",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(20)

    async def _models(self, request):
        return JSONResponse({"data": [{"id": "fake"}]})

    async def _chat(self, request):
        body = await request.json()
        if "stream_options" in body and self.usage is None:
            return JSONResponse({"error": {"message": "unknown field"}}, 422)
        number = len(self.seen)
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        fault = self.fault(number)
        if isinstance(fault, int):
            return JSONResponse({"error": {"message": "no"}}, fault)
        if fault == "html":
            return StreamingResponse(iter(["<p>hello</p>"]), media_type="text/html")
        if self.running >= self.room:
            self.refused += 1
            return JSONResponse({}, 429, {"Retry-After": self.wait} if self.wait else {})
        self.running += 1
        self.most = max(self.most, self.running)
        return StreamingResponse(self._stream(fault), media_type="text/event-stream")

    async def _stream(self, fault):
        try:
            pieces = 0 if fault == "empty" else self.pieces
            for i in range(pieces):
                await asyncio.sleep(self.first_s if i == 0 else self.gap_s)
                yield _event({"choices": [{"index": 0, "delta": {"content": "a"}}]})
                if fault == "break":
                    return
                if fault == "error":
                    yield _event({"error": {"message": "the worker has died"}})
                    return
            yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            if self.usage:
                usage = {"prompt_tokens": 7, "completion_tokens": 2 * self.pieces}
                yield _event({"choices": [], "usage": usage})
            yield "data: [DONE]\n\n"
        finally:
            self.running -= 1


def _event(values):
    return f"data: {json.dumps(values)}\n\n"
