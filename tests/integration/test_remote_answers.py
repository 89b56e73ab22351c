"""What an endpoint answers comes as a local model's answer would: text, usage, fields, schemas, reasoning, tool calls."""

from __future__ import annotations

import asyncio
import json

import pytest
from remote_calls import USAGE, ask, only, run
from remote_fakes import Server, piece

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.errors import OptionError, SchemaError
from llmops_jupyter.records import Sampling, Tool

pytestmark = pytest.mark.usefixtures("impatient")


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


def test_a_server_that_does_not_stream_gives_its_answer_at_once(opened):
    async def answer(asked, out):
        message = {"role": "assistant", "content": "whole"}
        choice = {"message": message, "finish_reason": "length"}
        await out.reply({"choices": [choice], "usage": USAGE})

    with Server(answer) as server:
        token, end = run(opened(server))
    assert (token.text, end.text, end.finish_reason) == ("whole", "whole", "length")


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
