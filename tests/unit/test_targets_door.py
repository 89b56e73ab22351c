"""The door of a Ray application: what a lost replica had not begun goes to another one, what it had begun says so."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("starlette", reason="needs starlette (extra serve)")

from starlette.requests import Request

from llmops_jupyter.deploy.serving.admission import Gate
from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.deploy.serving.limits import Limits
from llmops_jupyter.deploy.targets import serving
from llmops_jupyter.deploy.targets.asgi import Begun
from llmops_jupyter.deploy.targets.scaling import Scaling
from llmops_jupyter.deploy.targets.serving import Door

STREAM = Begun(200, ((b"content-type", b"text/event-stream"),))
WHOLE = Begun(200, ((b"content-type", b"application/json"),))


class LostError(Exception):
    """As Ray has them for actors that are gone."""


class Answer:
    """What a replica sends: pieces, an error in their place, or waiting for ever."""

    def __init__(self, pieces):
        self.pieces, self.cancelled = iter(pieces), False

    def __aiter__(self):
        return self

    async def __anext__(self):
        piece = next(self.pieces, None)
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, asyncio.Event):  # it is asked, and nothing comes
            piece.set()
            await asyncio.Event().wait()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def cancel(self):
        self.cancelled = True


class Replicas:
    """A handle, whose requests get these answers one after the other."""

    def __init__(self, *answers):
        self.answers, self.asked = [Answer(pieces) for pieces in answers], []

    def options(self, **_):
        return self

    def remote(self, asked):
        self.asked.append(asked)
        return self.answers[len(self.asked) - 1]


@pytest.fixture(autouse=True)
def losses(monkeypatch):
    monkeypatch.setattr(serving, "_lost", lambda: (LostError,))


async def send(replicas, body=b"{}", most=1000):
    """The door's answer as a client gets it: status, headers and the pieces of the body."""
    door, sent = Door(replicas, most), []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def app(scope, receive, send):
        response = await door(Request(scope, receive))
        await response(scope, receive, send)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"host", b"h"), (b"authorization", b"Bearer k")],
        # Starlette looks then for clients that leave only where it sends.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }

    async def keep(message):
        sent.append(message)

    await app(scope, receive, keep)
    pieces = [m["body"] for m in sent[1:] if m["body"]]
    return sent[0]["status"], dict(sent[0]["headers"]), pieces


async def test_a_request_goes_on_with_its_headers_and_comes_back_as_it_is():
    replicas = Replicas([WHOLE, b'{"a":', b" 1}"])
    status, headers, pieces = await send(replicas, b"hello")
    assert (status, b"".join(pieces)) == (200, b'{"a": 1}')
    assert headers[b"content-length"] == b"8"
    (asked,) = replicas.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/v1/chat/completions", b"hello")
    assert asked.headers == ((b"authorization", b"Bearer k"),)


@pytest.mark.parametrize(
    "lost",
    [
        [LostError()],
        [WHOLE, LostError()],
        [WHOLE, b"half", LostError()],
        [STREAM, LostError()],
    ],
)
async def test_what_a_lost_replica_has_not_begun_to_send_goes_to_another_one(lost):
    replicas = Replicas(lost, [WHOLE, b"{}"])
    status, _, pieces = await send(replicas)
    assert (status, pieces) == (200, [b"{}"])
    assert replicas.asked[0] == replicas.asked[1]


async def test_a_stream_that_is_broken_off_ends_in_an_error_with_a_name():
    replicas = Replicas([STREAM, b"data: 1\n\n", LostError()], [STREAM, b"data: 2\n\n"])
    status, _, pieces = await send(replicas)
    assert (status, pieces[0], len(replicas.asked)) == (200, b"data: 1\n\n", 1)
    error = json.loads(pieces[-1].removeprefix(b"data: "))["error"]
    assert (error["code"], error["type"]) == ("replica_lost", "server_error")


async def test_a_whole_stream_comes_piece_by_piece():
    replicas = Replicas([STREAM, b"data: 1\n\n", b"data: [DONE]\n\n"])
    assert (await send(replicas))[2] == [b"data: 1\n\n", b"data: [DONE]\n\n"]


async def test_a_request_on_which_all_replicas_are_lost_is_refused_for_a_while():
    replicas = Replicas(*[[LostError()]] * serving.TRIES)
    status, headers, pieces = await send(replicas)
    assert (status, headers[b"retry-after"]) == (503, b"2")
    assert json.loads(pieces[0])["error"]["code"] == "replica_lost"


async def test_a_body_that_is_too_large_is_asked_of_nobody():
    replicas = Replicas()
    status, _, _ = await send(replicas, b"x" * 11, most=10)
    assert (status, replicas.asked) == (413, [])


async def test_whoever_leaves_is_not_answered_any_more():
    waits = asyncio.Event()
    replicas = Replicas([WHOLE, waits])
    task = asyncio.create_task(send(replicas))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert replicas.answers[0].cancelled


async def test_a_full_replica_says_so_before_requests_wait_at_the_door():
    scaling = Scaling.read({"bundle": "/b", "together": 2})
    gate = Gate(Limits(running=scaling.together, waiting=scaling.waiting))
    most = scaling.replicas()["max_ongoing_requests"]
    tasks = [asyncio.create_task(gate.enter(1)) for _ in range(most)]
    await asyncio.sleep(0.01)
    refused = [t.exception() for t in tasks if t.done() and t.exception() is not None]
    assert len(refused) == most - scaling.together - scaling.waiting > 0
    assert all(isinstance(e, Refusal) and e.status == 429 for e in refused)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
