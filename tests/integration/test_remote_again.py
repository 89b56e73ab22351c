"""When a call is made again, and how long one is waited for."""

from __future__ import annotations

import asyncio

import pytest
from remote_calls import ask, only, run
from remote_fakes import Server, piece

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.engine.remote import calls
from llmops_jupyter.errors import ContextLengthError, EngineError, SchemaError

pytestmark = pytest.mark.usefixtures("impatient")


def rows(count, **options):
    return [ask(f"row {n}", str(n), interactive=False, **options) for n in range(count)]


def ends(events):
    return {e.request_id: e for e in events if isinstance(e, Finished)}


async def told(out, *texts):
    await out.head()
    for text in texts:
        await out.say(text)


def test_a_row_of_a_batch_that_breaks_off_is_made_anew(opened):
    async def answer(asked, out):
        await told(out, "half, ")
        if asked.number < 3:
            out.drop()
        else:
            await out.say("whole")
            await out.end()

    with Server(answer) as server:
        events = run(opened(server), *rows(1))
    assert ends(events)["0"].text == "half, whole"
    assert ends(events)["0"].error is None
    # What was handed out before the drop does not come a second time.
    assert "".join(e.text for e in events if isinstance(e, Token)) == "half, "


def test_an_answer_that_somebody_reads_is_not_made_anew(opened):
    async def answer(asked, out):
        await told(out, "half, ")
        out.drop()

    with Server(answer) as server:
        end = only(opened(server))
        assert len(server.seen.calls) == 1
    assert end.text == "half, "
    assert "after 6 characters, which are kept" in str(end.error)


def test_a_tool_call_that_breaks_off_is_made_anew(opened):
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"a": '}}

    async def answer(asked, out):
        await out.head()
        await out.event(piece(tool_calls=[call]))
        if asked.number == 1:
            out.drop()
        else:
            await out.event(piece(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]))
            await out.end("tool_calls")

    with Server(answer) as server:
        end = only(opened(server))
    assert [(c.name, dict(c.arguments)) for c in end.tool_calls] == [("look", {"a": 1})]


def test_an_answer_that_breaks_off_while_the_model_thinks_says_so(opened):
    async def answer(asked, out):
        await out.head()
        await out.event(piece(reasoning_content="hm"))
        out.drop()

    with Server(answer) as server:
        end = only(opened(server))
    assert end.reasoning == "hm"
    assert "within the reasoning" in str(end.error)


def test_a_limit_of_pace_lets_every_row_through_in_the_end(opened):
    async def answer(asked, out):
        if asked.number % 4:
            await out.reply({"error": {"message": "too many"}}, 429)
        else:
            await out.tell("ok")

    with Server(answer) as server:
        found = ends(run(opened(server, tries=2), *rows(16)))
    assert [found[str(n)].text for n in range(16)] == ["ok"] * 16


def test_a_server_that_takes_nothing_more_is_given_up(opened, monkeypatch):
    monkeypatch.setattr(calls, "LONGEST_WAIT_S", 0.05)

    async def answer(asked, out):
        await out.reply({"error": {"message": "too many"}}, 429)

    with Server(answer) as server:
        end = only(opened(server, tries=2))
    assert isinstance(end.error, EngineError)
    assert "answered 429: too many" in str(end.error)
    assert "--concurrency" in str(end.error)


def test_a_server_that_takes_its_requests_in_turn_is_waited_for(opened):
    turn = asyncio.Lock()

    async def answer(asked, out):
        async with turn:
            await asyncio.sleep(0.3)
            await out.tell("ok")

    # The last one waits longer than an answer may be silent, and longer than for one that is alone.
    with Server(answer) as server:
        found = ends(run(opened(server, idle_s=0.5, total_s=1.5), *rows(8)))
        assert len(server.seen.calls) == 8
    assert [found[str(n)].text for n in range(8)] == ["ok"] * 8


def test_a_deadline_may_be_longer_than_what_is_usual(opened):
    async def answer(asked, out):
        await out.head()
        await asyncio.sleep(0.6)
        await out.say("slow but sure")
        await out.end()

    with Server(answer) as server:
        end = only(opened(server, total_s=0.3), ask(deadline_s=30))
    assert (end.text, end.error) == ("slow but sure", None)


@pytest.mark.parametrize("reason", ["abort", "error", "insufficient_system_resource"])
def test_an_answer_that_the_server_gave_up_is_no_answer(opened, reason):
    async def answer(asked, out):
        await out.tell("half", reason=reason)

    with Server(answer) as server:
        end = only(opened(server))
        assert ends(run(opened(server, tries=2), *rows(1)))["0"].error is not None
        assert len(server.seen.calls) == 3
    assert (end.text, end.finish_reason) == ("half", "error")
    assert f"({reason})" in str(end.error)


def test_an_answer_that_a_filter_ended_is_noted(opened):
    async def answer(asked, out):
        await out.tell("half", reason="content_filter")

    with Server(answer) as server:
        end = only(opened(server))
        unheld = only(opened(server), ask(schema={"type": "object"}))
    assert end.text == "half"
    assert any("filter" in note for note in end.notes)
    assert isinstance(unheld.error, SchemaError)
    assert "filter" in str(unheld.error)


def test_a_refusal_of_the_model_is_its_answer_and_noted(opened):
    async def answer(asked, out):
        await out.head()
        await out.event(piece(refusal="I would rather not."))
        await out.end()

    with Server(answer) as server:
        end = only(opened(server))
        unheld = only(opened(server), ask(schema={"type": "object"}))
    assert end.text == "I would rather not."
    assert any("refused" in note for note in end.notes)
    assert "the model refused" in str(unheld.error)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "text/event-stream"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b": hello\n\n", b"\r\n"])
def test_an_event_stream_is_known_by_how_it_begins(opened, kind, begin):
    async def answer(asked, out):
        await out.head(kind=kind)
        await out.raw(begin)
        await out.say("hello")
        await out.end()

    with Server(answer) as server:
        assert only(opened(server)).text == "hello"


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "text/event-stream"])
def test_a_whole_answer_is_known_by_how_it_begins(opened, kind):
    async def answer(asked, out):
        choice = {"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
        await out.reply({"choices": [choice]}, kind=kind)

    with Server(answer) as server:
        assert only(opened(server)).text == "whole"


def test_an_error_that_comes_as_a_good_answer_is_an_error(opened):
    async def answer(asked, out):
        error = {"message": "no GPU is left", "code": 503}
        await out.reply({"error": error})

    with Server(answer) as server:
        engine = opened(server, tries=2)
        end = only(engine)
        with pytest.raises(EngineError, match="no GPU is left"):
            engine.embed(["text"])
        assert len(server.seen.calls) == 4
    assert "no GPU is left" in str(end.error)


def test_an_error_within_an_answer_is_what_its_words_say(opened):
    async def answer(asked, out):
        await out.head()
        error = {"message": "prompt is too long", "type": "invalid_request_error"}
        await out.event({"error": error})

    with Server(answer) as server:
        end = only(opened(server))
        assert len(server.seen.calls) == 1
    assert isinstance(end.error, ContextLengthError)
