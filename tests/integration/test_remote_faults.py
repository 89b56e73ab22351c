"""What goes wrong between a notebook and an endpoint ends in a result or in a clear error."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from remote_calls import ask, only, run
from remote_fakes import Server

from llmops_jupyter.engine.protocol import Finished
from llmops_jupyter.errors import ContextLengthError, EngineError

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_refused_connection_says_how_to_go_on(opened):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    end = only(opened(f"http://127.0.0.1:{port}", tries=2))
    assert end.finish_reason == "error"
    assert isinstance(end.error, EngineError)
    assert "Start the server" in str(end.error)
    assert "tried 2 times" in str(end.error)


def test_a_drop_before_any_text_is_tried_again(opened):
    async def answer(asked, out):
        if asked.number < 3:
            await out.head()
            out.drop()
        else:
            await out.tell("fine")

    with Server(answer) as server:
        engine = opened(server)
        end = only(engine)
        assert (end.text, end.finish_reason) == ("fine", "stop")
        assert engine.status()["retries"] == 2


def test_a_drop_after_text_keeps_the_text_and_is_not_tried_again(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("half of")
        await asyncio.sleep(0.05)
        out.drop()

    with Server(answer) as server:
        end = only(opened(server))
        assert len(server.seen.calls) == 1
    assert (end.text, end.finish_reason) == ("half of", "error")
    assert "7 characters, which are kept" in str(end.error)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_errors_that_may_pass_are_tried_again(opened, status):
    async def answer(asked, out):
        if asked.number == 1:
            await out.reply({"error": {"message": "busy"}}, status)
        else:
            await out.tell("fine")

    with Server(answer) as server:
        assert only(opened(server)).text == "fine"


def test_a_pause_that_the_server_asks_for_is_kept_by_all_requests(opened):
    times = []

    async def answer(asked, out):
        times.append((asked.number, time.monotonic()))
        if asked.number == 1:
            await out.reply({"error": {"message": "slow down"}}, 429, retry_after="0.5")
        else:
            await out.tell("fine")

    with Server(answer) as server:
        engine = opened(server, concurrency=1)
        ends = [e for e in run(engine, ask(), ask(number="2")) if isinstance(e, Finished)]
    assert [e.text for e in ends] == ["fine", "fine"]
    assert all(at - times[0][1] >= 0.5 for _, at in times[1:])


def test_too_long_a_pause_is_not_waited_for(opened):
    async def answer(asked, out):
        await out.reply({"error": {"message": "come back"}}, 429, retry_after="3600")

    with Server(answer) as server:
        end = only(opened(server))
        assert len(server.seen.calls) == 1
    assert "asks to wait 3,600 s" in str(end.error)


def test_a_quota_that_is_used_up_is_not_tried_again(opened):
    async def answer(asked, out):
        error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
        await out.reply({"error": error}, 429)

    with Server(answer) as server:
        end = only(opened(server))
        assert len(server.seen.calls) == 1
    assert "balance" in str(end.error)


def test_a_server_that_never_begins_is_given_up(opened):
    async def answer(asked, out):
        await out.head()
        await asyncio.sleep(30)

    with Server(answer) as server:
        end = only(opened(server, total_s=0.3))
        assert server.seen.gone.wait(10)
        assert len(server.seen.calls) == 1
    assert "did not begin" in str(end.error)


def test_a_server_that_falls_silent_after_text_keeps_the_text(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("so far")
        await asyncio.sleep(30)

    with Server(answer) as server:
        end = only(opened(server, idle_s=0.2))
    assert (end.text, end.finish_reason) == ("so far", "error")
    assert "fell silent" in str(end.error)


def test_signs_of_life_without_an_answer_are_not_waited_for_without_end(opened):
    async def answer(asked, out):
        await out.head()
        while True:
            await out.raw(b": still there\n\n")
            await asyncio.sleep(0.02)

    with Server(answer) as server:
        end = only(opened(server, total_s=0.3))
    assert end.finish_reason == "error"
    assert "did not begin" in str(end.error)


def test_a_deadline_ends_with_what_there_is(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("begun")
        await asyncio.sleep(30)

    with Server(answer) as server:
        end = only(opened(server), ask(deadline_s=0.4))
        assert server.seen.gone.wait(10)
    assert (end.text, end.finish_reason, end.error) == ("begun", "deadline", None)


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: {not json\n\n",
        b"data: [1]\n\n",
        b'data: {"error": "it crashed"}\n\n',
        b"event: error\ndata: it crashed\n\n",
        b"a line of no stream\n\n",
    ],
)
def test_a_malformed_piece_before_text_is_tried_again(opened, garbage):
    async def answer(asked, out):
        if asked.number == 1:
            await out.head()
            await out.raw(garbage)
        else:
            await out.tell("fine")

    with Server(answer) as server:
        assert only(opened(server)).text == "fine"


def test_a_malformed_piece_after_text_keeps_the_text(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("good")
        await out.raw(b"data: {not json\n\n")

    with Server(answer) as server:
        end = only(opened(server))
    assert (end.text, end.finish_reason) == ("good", "error")
    assert "no JSON" in str(end.error)


def test_a_stream_that_ends_without_its_end_is_an_error_with_its_text(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("cut")
        await out.raw(b'data: {"choices": [{"del')

    with Server(answer) as server:
        end = only(opened(server))
    assert (end.text, end.finish_reason) == ("cut", "error")
    assert "before it was complete" in str(end.error)


def test_an_end_that_the_server_gave_no_reason_for_is_noted(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("text")
        await out.event("[DONE]")

    with Server(answer) as server:
        end = only(opened(server))
    assert (end.text, end.finish_reason) == ("text", "stop")
    assert any("why the answer ended" in note for note in end.notes)


def test_a_web_page_instead_of_an_answer_is_told(opened):
    async def answer(asked, out):
        await out.reply("<html>Welcome</html>", kind="text/html; charset=utf-8")

    with Server(answer) as server:
        end = only(opened(server))
    assert "web page" in str(end.error)


def test_a_body_that_is_no_json_is_told(opened):
    async def answer(asked, out):
        await out.reply("Bad things happened")

    with Server(answer) as server:
        end = only(opened(server, tries=2))
    assert "no JSON" in str(end.error)


@pytest.mark.parametrize(
    ("status", "key_env", "advice"),
    [
        (401, "REMOTE_TEST_KEY", "variable REMOTE_TEST_KEY"),
        (401, "", "--key-env"),
        (403, "", "may use 'm'"),
        (404, "", "model id 'm'"),
        (302, "", "has moved"),
    ],
)
def test_refusals_say_what_to_do_and_are_not_tried_again(opened, status, key_env, advice):
    async def answer(asked, out):
        await out.reply({"error": {"message": "no such model"}}, status)

    with Server(answer) as server:
        end = only(opened(server, key_env=key_env))
        assert len(server.seen.calls) == 1
    assert advice in str(end.error)


def test_too_long_a_prompt_is_the_error_that_local_models_give(opened):
    async def answer(asked, out):
        error = {"message": "maximum context length is 8", "code": "context_length_exceeded"}
        await out.reply({"error": error}, 400)

    with Server(answer) as server:
        end = only(opened(server))
    assert isinstance(end.error, ContextLengthError)


def test_a_huge_answer_is_broken_off(opened, monkeypatch):
    from llmops_jupyter.engine.remote import transport

    monkeypatch.setattr(transport, "LONGEST_ANSWER", 100_000)

    async def answer(asked, out):
        await out.head()
        await out.raw(b"data: ")
        while True:
            await out.raw(b"x" * 10_000)

    with Server(answer) as server:
        end = only(opened(server))
        until = time.monotonic() + 10
        while server.seen.running and time.monotonic() < until:
            time.sleep(0.01)
        assert server.seen.running == 0
    assert "broken off" in str(end.error)
