"""What goes wrong between a notebook and an endpoint ends in a result or in a clear error."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import threading
import time
import traceback

import pytest
from remote_fakes import Server, piece

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.engine.remote import RemoteEngine, pace
from llmops_jupyter.errors import ContextLengthError, EngineError, OptionError, SchemaError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.records import Message, Sampling, Tool

KEY = "sk-Secret-0123456789"
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(pace, "BASE_S", 0.01)
    monkeypatch.setenv("REMOTE_TEST_KEY", KEY)


@pytest.fixture
def opened():
    """Opens engines that are closed after the test."""
    engines = []

    def make(server, *, model="m", flavour="auto", concurrency=8, key_env="", **options):
        url = server if isinstance(server, str) else server.url
        endpoint = Endpoint(url, model, key_env, None, concurrency, flavour)
        engines.append(RemoteEngine(endpoint, model_name="far", **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def ask(text="Hi", number="1", **options):
    return Request(number, (Message("user", text),), **options)


def run(engine, *requests):
    """The events of requests, which are one that says Hi if none is given."""
    return list(engine.generate(requests or [ask()]))


def only(engine, *requests):
    """The end of one request."""
    finished = [e for e in run(engine, *requests) if isinstance(e, Finished)]
    assert len(finished) == 1
    return finished[0]


def test_an_answer_streams_with_usage_and_reason(opened):
    async def answer(asked, out):
        await out.tell("Hel", "lo", usage=USAGE)

    with Server(answer) as server:
        engine = opened(server)
        *tokens, end = run(engine)
        assert [t.text for t in tokens] == ["Hel", "lo"]
        assert (end.text, end.finish_reason, end.error) == ("Hello", "stop", None)
        assert (end.usage.input_tokens, end.usage.output_tokens) == (11, 3)
        assert (end.usage.cached_tokens, end.usage.reasoning_tokens) == (5, 1)
        assert end.timing.first_token_s <= end.timing.total_s
        assert end.notes == ()
        assert end.cost is None
        assert engine.provider == "vllm"
        assert engine.context_length == 2048
        assert server.seen.calls[0].path == "/v1/chat/completions"
        assert server.seen.calls[0].body["seed"] == end.seed


def test_without_usage_tokens_are_estimated_and_said_to_be(opened):
    async def answer(asked, out):
        await out.tell("one", " two", " three")

    with Server(answer) as server:
        end = only(opened(server))
    assert 3 <= end.usage.output_tokens <= 5
    assert end.usage.input_tokens > 0
    assert any("estimates" in note for note in end.notes)


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


def test_a_server_that_does_not_stream_gives_its_answer_at_once(opened):
    async def answer(asked, out):
        message = {"role": "assistant", "content": "whole"}
        choice = {"message": message, "finish_reason": "length"}
        await out.reply({"choices": [choice], "usage": USAGE})

    with Server(answer) as server:
        token, end = run(opened(server))
    assert (token.text, end.text, end.finish_reason) == ("whole", "whole", "length")


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


def test_characters_that_are_cut_between_pieces_come_whole(opened):
    async def answer(asked, out):
        await out.head()
        for byte in ('data: {"choices":[{"delta":{"content":"Grüße 🎉"}}]}\n\n').encode():
            await out.raw(bytes([byte]))
        # The two halves of an emoji, each escaped in a piece of its own.
        await out.raw(b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n')
        await out.raw(b'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n')
        await out.end()

    with Server(answer) as server:
        end = only(opened(server))
    assert end.text == "Grüße 🎉😀"


def test_closing_the_iterator_tells_the_server_to_stop(opened):
    async def answer(asked, out):
        await out.head()
        while True:
            await out.say("more ")
            await asyncio.sleep(0.01)

    with Server(answer) as server:
        events = opened(server).generate([ask()])
        assert isinstance(next(events), Token)
        events.close()
        assert server.seen.gone.wait(10)


def test_never_more_requests_run_than_allowed_and_all_end_in_their_own_order(opened):
    taken = []

    async def answer(asked, out):
        await out.head()
        name = asked.body["messages"][0]["content"]
        for i in range(3):
            await out.say(f"{name}.{i} ")
            await asyncio.sleep(0.002)
        await out.end()

    def requests():
        for i in range(20):
            taken.append(i)
            yield ask(f"r{i}", str(i))

    with Server(answer) as server:
        engine = opened(server, concurrency=3)
        events = engine.generate(requests())
        first = next(events)
        assert len(taken) <= 3
        got = [first, *events]
        assert 1 < server.seen.most <= 3
    ends = {e.request_id: e for e in got if isinstance(e, Finished)}
    assert len(ends) == 20
    for name, end in ends.items():
        mine = [e for e in got if e.request_id == name]
        assert mine[-1] is end
        assert "".join(e.text for e in mine[:-1]) == end.text
        assert end.text == "".join(f"r{name}.{i} " for i in range(3))


def test_two_callers_share_the_bound(opened):
    async def answer(asked, out):
        await asyncio.sleep(0.01)
        await out.tell("ok")

    with Server(answer) as server:
        engine = opened(server, concurrency=2)
        threads = [
            threading.Thread(target=run, args=(engine, *[ask(number=str(i)) for i in range(6)]))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(server.seen.calls) == 18
        assert server.seen.most <= 2


def test_one_failed_request_leaves_the_others_alone(opened):
    async def answer(asked, out):
        if asked.body["messages"][0]["content"] == "bad":
            await out.reply({"error": {"message": "no"}}, 400)
        else:
            await out.tell("ok")

    with Server(answer) as server:
        events = run(opened(server), ask("a", "1"), ask("bad", "2"), ask("c", "3"))
    ends = {e.request_id: e.finish_reason for e in events if isinstance(e, Finished)}
    assert ends == {"1": "stop", "2": "error", "3": "stop"}


def test_the_key_is_sent_and_shows_up_nowhere(opened, monkeypatch):
    async def answer(asked, out):
        await out.reply({"error": {"message": f"Wrong key {KEY} given"}}, 401)

    with Server(answer) as server:
        engine = opened(server, key_env="REMOTE_TEST_KEY")
        end = only(engine)
        assert server.seen.calls[0].headers["authorization"] == f"Bearer {KEY}"
        shown = [str(end), repr(end), repr(engine), str(engine.status()), repr(engine.endpoint)]
        shown += ["".join(traceback.format_exception(end.error)), str(pickle.dumps(engine))]
        shown += [str(pickle.dumps(end.error)), str(engine.endpoint.as_dict())]
        with pytest.raises(EngineError) as caught:
            engine.embed(["text"])
        shown.append("".join(traceback.format_exception(caught.value)))
        walked = caught.value
        while walked is not None:
            shown.append(repr(vars(walked)) + str(walked))
            walked = walked.__cause__ or walked.__context__
    assert not [text for text in shown if KEY in text]
    monkeypatch.delenv("REMOTE_TEST_KEY")
    assert "REMOTE_TEST_KEY" in str(only(engine).error)


def test_a_key_that_no_header_can_hold_is_not_shown(opened, monkeypatch):
    monkeypatch.setenv("REMOTE_TEST_KEY", "line one\nline two")

    async def answer(asked, out):
        await out.tell("never")

    with Server(answer) as server:
        end = only(opened(server, key_env="REMOTE_TEST_KEY"))
    assert "line two" not in str(end.error)
    assert "REMOTE_TEST_KEY" in str(end.error)


def test_a_closed_engine_says_so_and_ends_what_runs(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("begun")
        await asyncio.sleep(30)

    with Server(answer) as server:
        engine = opened(server)
        events = engine.generate([ask()])
        assert next(events).text == "begun"
        engine.close()
        end = next(events)
        assert (end.text, end.finish_reason) == ("begun", "error")
        with pytest.raises(EngineError, match="closed"):
            engine.embed(["x"])
        assert not engine.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_it_says_what_to_do(opened):
    async def answer(asked, out):
        await out.tell("ok")

    with Server(answer) as server:
        engine = opened(server)
        only(engine)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                engine.embed(["x"])
            except EngineError as e:
                os.write(writing, str(e).encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        said = os.read(reading, 1000)
        os.close(reading)
    assert b"after a fork" in said


def test_a_field_that_the_server_refuses_is_left_out_from_then_on(opened):
    async def answer(asked, out):
        if "max_tokens" in asked.body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            await out.reply({"error": {"message": message, "param": "max_tokens"}}, 400)
        elif "temperature" in asked.body:
            message = "'temperature' does not support 0.2. Only the default (1) is."
            await out.reply(
                {"error": {"message": f"Unsupported value: {message}", "param": "temperature"}}, 400
            )
        else:
            await out.tell("fine")

    with Server(answer) as server:
        engine = opened(server)
        end = only(engine, ask(sampling=Sampling(temperature=0.2)))
        assert end.text == "fine"
        assert any("temperature" in note for note in end.notes)
        assert len(server.seen.calls) == 3
        only(engine)
        assert len(server.seen.calls) == 4


def test_a_value_out_of_range_is_not_left_out_in_silence(opened):
    async def answer(asked, out):
        await out.reply({"error": {"message": "temperature must be at most 2"}}, 400)

    with Server(answer) as server:
        end = only(opened(server), ask(sampling=Sampling(temperature=50)))
        assert len(server.seen.calls) == 1
    assert "at most 2" in str(end.error)


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_a_schema_is_enforced_in_the_strictest_way_that_the_server_knows(opened):
    async def answer(asked, out):
        form = asked.body.get("response_format", {})
        if form.get("type") == "json_schema" or "schema" in form:
            await out.reply({"error": {"message": "response_format: unknown type"}}, 400)
        else:
            await out.tell('```json\n{"n": 4}\n```')

    with Server(answer) as server:
        end = only(opened(server), ask(schema=SCHEMA))
        assert (end.text, end.finish_reason) == ('{"n": 4}', "stop")
        assert any("does not enforce" in note for note in end.notes)
        first, *_, last = server.seen.calls
        assert first.body["response_format"]["json_schema"]["strict"] is True
        assert '"integer"' in last.body["messages"][0]["content"]


def test_a_schema_that_the_server_ignores_is_told_to_the_model(opened):
    async def answer(asked, out):
        told = any("JSON schema" in m["content"] for m in asked.body["messages"])
        await out.tell('```json\n{"a": 1}\n```' if told else "Sure! It is one.")

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    with Server(answer) as server:
        engine = opened(server, flavour="compatible")
        row = ask(schema=schema, interactive=False)
        assert only(engine, row).text == '{"a": 1}'
        assert only(engine, row).text == '{"a": 1}'
        assert len(server.seen.calls) == 3
        read = opened(server, flavour="compatible")
        first = only(read, ask(schema=schema))
        # Somebody has read it by then.
        assert isinstance(first.error, SchemaError)
        assert "Run it again" in str(first.error)
        assert only(read, ask(schema=schema)).text == '{"a": 1}'


def test_logprobs_that_do_not_come_are_noted(opened):
    async def answer(asked, out):
        await out.tell("text")

    with Server(answer) as server:
        end = only(opened(server), ask(sampling=Sampling(logprobs=2)))
    assert "The endpoint returned no log-probabilities." in end.notes


def test_an_answer_that_misses_its_schema_is_an_error_with_its_text(opened):
    async def answer(asked, out):
        await out.tell('{"n": "four"}')

    with Server(answer) as server:
        end = only(opened(server), ask(schema=SCHEMA))
    assert isinstance(end.error, SchemaError)
    assert "$.n" in str(end.error)
    assert end.text == '{"n": "four"}'


TOOL = Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})


def test_tool_calls_are_put_together(opened):
    def part(index, name=None, call_id=None, arguments=""):
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return piece(tool_calls=[{"index": index, "id": call_id, "function": function}])

    async def answer(asked, out):
        await out.head()
        await out.event(part(0, "add", "c1"))
        await out.event(part(0, arguments='{"a"'))
        await out.event(part(1, "add", "c2", "{}"))
        await out.event(part(0, arguments=": 1}"))
        await out.end("tool_calls")

    with Server(answer) as server:
        end = only(opened(server), ask(tools=(TOOL,)))
        assert server.seen.calls[0].body["tools"][0]["function"]["name"] == "add"
        assert server.seen.calls[0].body["tool_choice"] == "auto"
    assert end.finish_reason == "tool_calls"
    assert [(c.id, c.name, c.arguments) for c in end.tool_calls] == [
        ("c1", "add", {"a": 1}),
        ("c2", "add", {}),
    ]


def test_tool_calls_with_broken_arguments_are_a_clear_error(opened):
    async def answer(asked, out):
        await out.head()
        function = {"name": "add", "arguments": '{"a": '}
        await out.event(piece(tool_calls=[{"index": 0, "id": "c", "function": function}]))
        await out.end("tool_calls")

    with Server(answer) as server:
        end = only(opened(server), ask(tools=(TOOL,)))
    assert end.finish_reason == "error"
    assert "'add'" in str(end.error)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_the_server_keeps_apart_stays_apart(opened, name):
    async def answer(asked, out):
        await out.head()
        await out.event(piece(**{name: "let me see"}))
        await out.say("42")
        await out.end()

    with Server(answer) as server:
        thought, said, end = run(opened(server))
    assert (thought.reasoning, thought.text) == (True, "let me see")
    assert (said.reasoning, said.text) == (False, "42")
    assert (end.reasoning, end.text) == ("let me see", "42")


def test_reasoning_between_marks_is_kept_apart(opened):
    async def answer(asked, out):
        await out.tell("<thi", "nk>hm, ", "yes</th", "ink>\n\n4", "2")

    with Server(answer) as server:
        end = only(opened(server))
    assert (end.reasoning, end.text) == ("hm, yes", "42")


def test_reasoning_whose_begin_is_in_the_template_is_found_at_the_end(opened):
    async def answer(asked, out):
        await out.tell("hm, yes</think>\n\n42")

    with Server(answer) as server:
        end = only(opened(server))
    assert (end.reasoning, end.text) == ("hm, yes", "42")


def test_stop_strings_hold_even_if_the_server_ignores_them(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("one two")
        await out.say(" three END four")
        await asyncio.sleep(30)

    with Server(answer) as server:
        end = only(opened(server), ask(sampling=Sampling(stop=("END",))))
        assert server.seen.gone.wait(10)
    assert (end.text, end.finish_reason) == ("one two three ", "stop")


def test_logprobs_come_with_the_answer(opened):
    async def answer(asked, out):
        assert asked.body["top_logprobs"] == 2
        top = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -2.5}]
        content = [{"token": "a", "logprob": -0.1, "top_logprobs": top}]
        await out.head()
        event = piece(content="a")
        event["choices"][0]["logprobs"] = {"content": content}
        await out.event(event)
        await out.end("length")

    with Server(answer) as server:
        end = only(opened(server), ask(sampling=Sampling(logprobs=2)))
    assert [(t.token, t.logprob, t.top) for t in end.logprobs] == [
        ("a", -0.1, (("a", -0.1), ("b", -2.5)))
    ]


def test_adapters_and_empty_prompts_are_refused_without_a_call(opened):
    async def answer(asked, out):
        await out.tell("never")

    with Server(answer) as server:
        engine = opened(server)
        assert isinstance(only(engine, ask(adapters=(("a.gguf", 1.0),))).error, OptionError)
        assert isinstance(only(engine, Request("1")).error, OptionError)
        assert isinstance(only(engine, ask("\udcff")).error, OptionError)
        assert server.seen.calls == []


def test_embeddings_are_of_unit_length_in_the_order_of_the_texts(opened):
    async def answer(asked, out):
        texts = asked.body["input"]
        data = [{"index": i, "embedding": [3.0, 4.0, len(t)]} for i, t in enumerate(texts)]
        await out.reply({"data": data[::-1]})

    with Server(answer) as server:
        engine = opened(server)
        found = engine.embed(["x" * i for i in range(150)])
        assert [len(c.body["input"]) for c in server.seen.calls] != [150]
        assert engine.embed([]).shape == (0, 0)
    assert found.shape == (150, 3)
    assert (abs((found**2).sum(axis=1) - 1) < 1e-5).all()
    assert (found[1:, 2] > found[:-1, 2]).all()


def test_embeddings_that_are_none_are_told(opened):
    async def answer(asked, out):
        await out.reply({"data": []})

    with Server(answer) as server, pytest.raises(EngineError, match="embedding model"):
        opened(server).embed(["x"])


def test_ranks_come_in_the_order_of_the_texts_from_either_path(opened):
    async def answer(asked, out):
        if asked.path == "/v1/rerank":
            await out.reply({"error": "not here"}, 404)
        else:
            found = [{"index": 1, "relevance_score": 2.0}, {"index": 0, "relevance_score": -1.0}]
            await out.reply({"results": found})

    with Server(answer) as server:
        assert opened(server).rerank("q", ["a", "b"]) == [-1.0, 2.0]
        assert [c.path for c in server.seen.calls] == ["/v1/rerank", "/rerank"]


def scored(*top):
    entries = [{"token": token, "logprob": logprob} for token, logprob in top]
    content = [{**entries[0], "top_logprobs": entries}]
    return {"choices": [{"message": {"content": ""}, "logprobs": {"content": content}}]}


def test_labels_are_scored_by_the_likeliest_first_tokens(opened):
    async def answer(asked, out):
        assert (asked.body["max_tokens"], asked.body["top_logprobs"]) == (1, 20)
        await out.reply(scored(("pos", -0.2), (" neg", -2.0), ("other", -5.0)))

    with Server(answer) as server:
        engine = opened(server)
        item = ([Message("user", "Good?")], ["positive", "negative", "mixed"])
        assert engine.score([item, item]) == [[-0.2, -2.0, -5.0]] * 2
        assert any("upper bound" in note for note in engine.status()["notes"])


def test_labels_with_one_beginning_are_told_apart_after_it(opened):
    async def answer(asked, out):
        assert asked.body["messages"][-1] == {"role": "assistant", "content": "very"}
        assert asked.body["continue_final_message"] is True
        await out.reply(scored((" good", -0.2), (" bad", -2.0)))

    with Server(answer) as server:
        item = ([Message("user", "How?")], ["very good", "very bad"])
        assert opened(server).score([item]) == [[-0.2, -2.0]]


def test_scoring_without_logprobs_says_why_it_cannot_be_done(opened):
    async def answer(asked, out):
        await out.reply({"choices": [{"message": {"content": "A"}}]})

    with Server(answer) as server, pytest.raises(EngineError, match="log-probabilities"):
        opened(server).score([([Message("user", "x")], ["A", "B"])])


def test_tokens_are_counted_by_the_server_or_estimated_and_said_to_be(opened):
    async def answer(asked, out):
        assert asked.path == "/tokenize"
        await out.reply({"count": 7})

    with Server(answer) as server:
        engine = opened(server)
        assert engine.count_tokens([Message("user", "x")]) == 7
        assert not any("estimates" in note for note in engine.status().get("notes", ()))
        other = opened(server, flavour="openai")
        assert other.count_tokens("eight characters"[:8]) == 2
        assert any("estimates" in note for note in other.status()["notes"])


def test_an_engine_that_went_through_pickle_answers(opened):
    async def answer(asked, out):
        await out.tell("ok")

    with Server(answer) as server:
        copy = pickle.loads(pickle.dumps(opened(server, tries=3)))
        try:
            assert only(copy).text == "ok"
        finally:
            copy.close()


def test_a_begun_answer_goes_on_in_the_way_of_the_server(opened):
    async def answer(asked, out):
        await out.tell("The answer is 4", "2.")

    request = ask(prefill="The answer is ")
    with Server(answer) as server:
        for flavour in ("vllm", "llama-server", "openai"):
            end = only(opened(server, flavour=flavour), request)
            assert end.text == "42."
            assert bool(end.notes) == (flavour == "openai") or "estimates" in end.notes[0]
        vllm, llama, other = (call.body for call in server.seen.calls)
    assert vllm["messages"][-1]["role"] == "assistant"
    assert vllm["continue_final_message"] is True
    assert llama["messages"][-1]["role"] == "assistant"
    assert "continue_final_message" not in llama
    assert other["messages"][-2]["role"] == "assistant"
    assert other["messages"][-1]["role"] == "user"


def test_line_ends_within_the_strings_of_an_answer_are_escaped(opened):
    """The grammar of llama_cpp.server lets them through."""

    async def answer(asked, out):
        await out.tell('{"n": 4, "why": "two\nlines"}')

    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "why": {"type": "string"}}}
    with Server(answer) as server:
        end = only(opened(server), ask(schema=schema))
    assert end.error is None
    assert json.loads(end.text) == {"n": 4, "why": "two\nlines"}
