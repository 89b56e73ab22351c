"""The bundled model with tools: its calls are valid whatever it would have written."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.errors import OptionError, SchemaError
from llmops_jupyter.records import Message, Sampling, Tool, ToolCall

pytestmark = pytest.mark.model

WEATHER = Tool(
    "weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"enum": ["C", "F"]},
            "days": {"enum": [1, 2, 3]},
        },
        "required": ["city", "unit", "days"],
        "additionalProperties": False,
    },
)
NOW = Tool("now", "The time.", {"type": "object", "properties": {}, "additionalProperties": False})
TOOLS = (WEATHER, NOW)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 30}},
    "required": ["answer"],
    "additionalProperties": False,
}


def ask(engine, text="What is the weather in Paris?", **more):
    settings_ = {"temperature": 0, "max_tokens": 160, **more.pop("sampling", {})}
    request = Request(
        "1",
        messages=more.pop("messages", (Message("user", text),)),
        tools=more.pop("tools", TOOLS),
        sampling=Sampling(**settings_),
        **more,
    )
    *tokens, end = engine.generate([request])
    assert isinstance(end, Finished)
    return "".join(t.text for t in tokens if isinstance(t, Token)), end


def check(calls, tools=TOOLS):
    known = {tool.name: tool for tool in tools}
    assert calls
    for call in calls:
        jsonschema.validate(dict(call.arguments), known[call.name].parameters)


def test_a_model_that_has_to_call_calls_and_says_nothing(engine):
    shown, end = ask(engine, tool_choice="required")
    assert shown == end.text == ""
    assert end.finish_reason == "tool_calls"
    check(end.tool_calls)


@pytest.mark.parametrize("name", ["weather", "now"])
def test_the_tool_that_is_named_is_called_once(engine, name):
    _, end = ask(engine, tool_choice=name)
    assert [call.name for call in end.tool_calls] == [name]
    check(end.tool_calls)


def test_without_a_choice_there_are_no_calls_and_no_tools_in_the_prompt(engine):
    _, end = ask(engine, tool_choice="none", sampling={"max_tokens": 8})
    assert end.tool_calls == ()
    _, told = ask(engine, tool_choice="auto", sampling={"max_tokens": 8})
    assert end.usage.input_tokens < told.usage.input_tokens


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**31), st.text(max_size=30).filter(str.strip))
def test_calls_are_valid_however_wildly_they_are_drawn(engine, seed, text):
    hot = {"temperature": 3.0, "seed": seed, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    shown, end = ask(engine, text, tool_choice="required", sampling=hot)
    assert shown == end.text == ""
    if end.finish_reason == "tool_calls":
        check(end.tool_calls)
    else:
        assert end.finish_reason == "length"


def test_an_answer_in_words_is_free_until_a_call_begins(engine):
    # The model is made to write the mark; from there on it has to be a call.
    bias = tuple((text, 60.0) for text in ("<", "tool", "_", "call", ">"))
    shown, end = ask(engine, sampling={"logit_bias": bias, "repeat_penalty": 1.6, "max_tokens": 80})
    assert not end.tool_calls or check(end.tool_calls) is None
    assert "<tool_call>" not in shown or end.notes


def test_a_token_that_goes_beyond_the_mark_is_taken_back(engine):
    text = "Repeat: <tool_call>{}"
    messages = (
        Message("user", text),
        Message("assistant", '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'),
        Message("user", text),
        Message("assistant", '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'),
        Message("user", text),
    )
    shown, end = ask(engine, messages=messages)
    assert shown == ""
    check(end.tool_calls)


def test_calls_and_results_of_before_are_read(engine):
    messages = (
        Message("user", "What is the weather in Paris?"),
        Message("assistant", "", (ToolCall("call00000", "weather", {"city": "Paris"}),)),
        Message("tool", "It rains.", tool_call_id="call00000"),
    )
    _, end = ask(engine, messages=messages, tool_choice="none", sampling={"max_tokens": 30})
    assert end.finish_reason in ("stop", "length")
    assert end.text
    _, again = ask(engine, messages=messages, tool_choice="now")
    assert again.tool_calls[0].id != "call00000"


def test_an_answer_satisfies_the_schema_or_is_a_call(engine):
    _, end = ask(engine, schema=SCHEMA, tool_choice="none")
    assert set(json.loads(end.text)) == {"answer"}
    for choice in ("required", "now"):
        _, end = ask(engine, schema=SCHEMA, tool_choice=choice)
        check(end.tool_calls)
    _, end = ask(engine, schema=SCHEMA)
    assert end.finish_reason in ("stop", "tool_calls")


def test_a_call_that_is_cut_is_left_out_with_a_note(engine):
    shown, end = ask(engine, tool_choice="weather", sampling={"max_tokens": 9})
    assert shown == end.text == ""
    assert end.tool_calls == ()
    assert end.finish_reason == "length"
    assert "max_tokens" in end.notes[0]


def test_what_cannot_be_called_is_said_before_anything_is_written(engine):
    _, end = ask(engine, tool_choice="wether")
    assert isinstance(end.error, OptionError)
    assert "Did you mean 'weather'" in str(end.error)
    bad = Tool("bad", "", {"type": "object", "properties": {"x": {"$ref": "http://x/y"}}})
    _, end = ask(engine, tools=(bad,))
    assert isinstance(end.error, SchemaError)
    _, end = ask(engine, grammar='root ::= "x"')
    assert isinstance(end.error, OptionError)


def test_rows_of_a_batch_have_tools_of_their_own(engine):
    requests = [
        Request(
            str(i),
            messages=(Message("user", f"Question {i}"),),
            tools=TOOLS if i % 2 else (),
            tool_choice="now" if i % 2 else "auto",
            sampling=Sampling(temperature=0, max_tokens=40),
            interactive=False,
        )
        for i in range(6)
    ]
    ends = {e.request_id: e for e in engine.generate(requests) if isinstance(e, Finished)}
    assert [bool(ends[str(i)].tool_calls) for i in range(6)] == [False, True] * 3


def test_the_same_call_comes_again_if_it_is_computed_alone(engine):
    hot = {"temperature": 1.0, "seed": 5}
    ends = [ask(engine, tool_choice="weather", exact=True, sampling=hot)[1] for _ in range(2)]
    assert ends[0].tool_calls == ends[1].tool_calls
    check(ends[0].tool_calls)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000))
def test_answers_with_a_schema_are_json_also_where_the_model_wants_new_lines(engine, seed):
    """At this temperature control characters come now and then."""
    schema = {
        "type": "object",
        "properties": {"poem": {"type": "string", "maxLength": 40}},
        "required": ["poem"],
        "additionalProperties": False,
    }
    wish = ((198, 6.0),)  # the token of a line end
    _, end = ask(
        engine,
        "Write a poem of two lines.",
        tools=(),
        schema=schema,
        sampling={"temperature": 1.5, "seed": seed, "max_tokens": 120, "logit_bias": wish},
    )
    assert set(json.loads(end.text)) == {"poem"}
