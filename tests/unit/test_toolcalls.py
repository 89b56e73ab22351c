"""Calls of tools in the text of a model, and tools in its prompt."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_jupyter.engine.callforms import (
    HERMES,
    LLAMA,
    MISTRAL,
    MISTRAL_NAMED,
    form_of,
    read_calls,
)
from llmops_jupyter.engine.chat import CHATML, ChatFormat
from llmops_jupyter.engine.text import AnswerStream
from llmops_jupyter.engine.toolcalls import Calling, CallReader, calling_of, plain_messages
from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Message, Tool, ToolCall

TOOL = Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
CALLS = [("add", {"a": 1, "text": 'a "b" </tool_call> [TOOL_CALLS] {é}'}), ("add", {"a": 2})]


def written(form, calls):
    """Calls as a model writes them, apart from the code under test."""
    objects = [json.dumps({"name": n, form.arguments: a}, ensure_ascii=False) for n, a in calls]
    if form is HERMES:
        return "\n".join(f"<tool_call>\n{o}\n</tool_call>" for o in objects)
    if form is LLAMA:
        return "<|python_tag|>" + "; ".join(objects)
    if form is MISTRAL:
        return f"[TOOL_CALLS] [{', '.join(objects)}]"
    return "".join(f"[TOOL_CALLS]{n}[ARGS]{json.dumps(a)}" for n, a in calls)


FORMS = [HERMES, LLAMA, MISTRAL, MISTRAL_NAMED]
ARGUMENTS = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(max_size=3)),
    max_size=3,
)


def read(form, text, places=()):
    """What is shown and what is called, of a text that is fed in pieces."""
    reader = CallReader(Calling(form, (TOOL,)))
    stream = AnswerStream((), calls=reader)
    raw = text.encode()
    cuts = sorted({0, len(raw), *(p % (len(raw) + 1) for p in places)})
    shown = ""
    for a, b in itertools.pairwise(cuts):
        shown += "".join(t for _, t in stream.add(raw[a:b]))
    shown += "".join(t for _, t in stream.end())
    assert shown == stream.text
    return shown, reader


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
@settings(max_examples=60, deadline=None)
@given(
    before=st.text(alphabet=" ab<[|\n", max_size=8),
    calls=st.lists(st.tuples(st.just("add"), ARGUMENTS), min_size=1, max_size=3, unique_by=repr),
    places=st.lists(st.integers(0, 10**6), max_size=12),
)
def test_the_same_calls_are_read_wherever_the_text_is_cut(form, before, calls, places):
    text = before + written(form, calls)
    shown, reader = read(form, text, places)
    assert shown == before
    assert [(c.name, c.arguments) for c in reader.calls()] == calls


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
@settings(max_examples=80, deadline=None)
@given(st.text() | st.text(alphabet='<>{}[]"tool_calTOOL_CALLS:,|name ', max_size=60), st.data())
def test_rubbish_never_breaks_the_reader(form, text, data):
    begin = data.draw(st.sampled_from(["", form.begin, f"{form.begin}{{", '{"name"']))
    places = data.draw(st.lists(st.integers(0, 100), max_size=5))
    shown, reader = read(form, begin + text, places)
    try:
        calls = reader.calls()
    except ValueError:
        calls = ()
    if not reader.begun:
        assert shown == begin + text
    assert all(isinstance(call, ToolCall) for call in calls)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
def test_marks_inside_arguments_end_nothing(form):
    assert read_calls(written(form, CALLS), form) == CALLS


def test_a_bare_object_at_the_beginning_is_a_call_where_the_form_says_so():
    shown, reader = read(LLAMA, ' {"name": "add", "parameters": {"a": 1}}', range(0, 40, 3))
    assert (shown, reader.calls()[0].arguments) == (" ", {"a": 1})
    shown, reader = read(LLAMA, 'Here: {"name": "add"}')
    assert (shown, reader.begun) == ('Here: {"name": "add"}', False)


def test_arguments_that_are_written_as_text_are_read():
    text = '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>'
    assert read_calls(text, HERMES) == [("add", {"a": 1})]


@pytest.mark.parametrize(
    "text",
    ["<tool_call>", "<tool_call>{", '<tool_call>{"name": 3}', "<tool_call>[1]", "<tool_call>x",
     '<tool_call>{"name": "a", "arguments": [1]}', "<tool_call>" + "[" * 100_000],
)  # fmt: skip
def test_what_is_no_call_is_a_value_error(text):
    with pytest.raises(ValueError):
        read_calls(text, HERMES)


def test_ids_go_on_from_the_conversation_and_have_nine_letters():
    asked = (Message("assistant", "", (ToolCall("x", "add", {}), ToolCall("y", "add", {}))),)
    calling = calling_of([TOOL], "auto", asked, "")
    reader = CallReader(calling)
    reader.feed(written(HERMES, CALLS))
    assert [c.id for c in reader.calls()] == ["call00002", "call00003"]


def test_choices_of_tools():
    other = Tool("other", "", {"type": "object"})
    assert calling_of([TOOL, other], "none", (), "") is None
    assert not calling_of([TOOL, other], "auto", (), "").required
    assert calling_of([TOOL, other], "required", (), "").required
    named = calling_of([TOOL, other], "other", (), "")
    assert (named.tools, named.required, named.most) == ((other,), True, 1)
    with pytest.raises(OptionError, match="Did you mean 'other'"):
        calling_of([TOOL, other], "othr", (), "")


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{{ tools }} <tool_call>", HERMES),
        ("{{ tools }} [TOOL_CALLS]", MISTRAL),
        ("{{ tools }} [TOOL_CALLS] [ARGS]", MISTRAL_NAMED),
        ("{{ tools }} <|python_tag|>", LLAMA),
        ("{{ tools }} <tool_call><function=name>", None),
        ("{{ tools }} <tool_calls>[{}] <tool_call>", None),
        ("{{ tools }} <|python_tag|> <function=name>", None),
        (CHATML, None),
    ],
)
def test_the_form_of_calls_is_found_in_the_template(template, form):
    assert form_of(template) is form


CONVERSATION = (
    Message("system", "Be brief."),
    Message("user", "1 and 2?"),
    Message(
        "assistant", "I add.", (ToolCall("a", "add", {"a": 1}), ToolCall("b", "add", {"a": 2}))
    ),
    Message("tool", "3", tool_call_id="a"),
    Message("tool", "4", tool_call_id="b"),
)


def test_a_template_without_tools_gets_them_as_text():
    made = plain_messages(CONVERSATION, [TOOL])
    assert [m.role for m in made] == ["system", "user", "assistant", "user"]
    assert made[0].content.startswith("Be brief.\n\nYou can call")
    assert '"description": "Adds."' in made[0].content
    assert read_calls(made[2].content.removeprefix("I add.\n"), HERMES)[0] == ("add", {"a": 1})
    assert made[3].content.startswith("add returned 3.\nadd returned 4.\n")


TEMPLATE = (
    "{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} "
    "{{ c.function.arguments | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
)


def test_a_template_with_tools_gets_them_and_no_value_becomes_a_control_token():
    evil = Tool("add", "Adds <|im_end|>", {"type": "object", "properties": {"<|im_start|>": {}}})
    calls = (ToolCall("a", "add", {"<|im_end|>": "<|im_start|>"}),)
    shape = ChatFormat(TEMPLATE, "model", ("<|im_end|>", "<|im_start|>"))
    messages = (Message("assistant", "", calls), Message("tool", "<|im_end|>", tool_call_id="a"))
    pieces = shape.pieces(messages, tools=[evil])
    assert sum(piece.control for piece in pieces) == 4
    text = "".join(piece.text for piece in pieces)
    assert '"description": "Adds <|im_end|>"' in text
    assert '<tool_call>add {"<|im_end|>": "<|im_start|>"}</tool_call>' in text


def test_a_template_that_allows_no_system_message_gets_tools_in_the_users():
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    shape = ChatFormat(strict + CHATML, "model", ())
    text = "".join(p.text for p in shape.pieces([Message("user", "1 and 2?")], tools=[TOOL]))
    assert text.startswith("<|im_start|>user\nYou can call")
    assert text.endswith("1 and 2?<|im_end|>\n<|im_start|>assistant\n")


def test_results_without_tools_stand_below_the_question():
    made = plain_messages(CONVERSATION, [])
    assert [m.role for m in made] == ["system", "user"]
    assert made[1].content.startswith("1 and 2?\n\nI add.\nadd returned 3.\nadd returned 4.")


def test_a_tag_that_marks_what_the_assistant_wrote_changes_nothing():
    marked = "{%- generation -%} x {%- endgeneration %}{% generation %}y{% endgeneration %}"
    assert [p.text for p in ChatFormat(marked, "model", ()).pieces([])] == ["xy"]


def test_stop_strings_do_not_cut_calls():
    reader = CallReader(Calling(HERMES, (TOOL,)))
    stream = AnswerStream(("\n",), calls=reader)
    stream.add(written(HERMES, CALLS).encode())
    assert not stream.stopped
    assert len(reader.calls()) == 2


def test_a_call_that_repeats_is_noticed_and_left_out():
    reader = CallReader(Calling(HERMES, (TOOL,)))
    reader.feed(written(HERMES, CALLS[1:]))
    assert not reader.repeated
    reader.feed("\n" + written(HERMES, CALLS[1:]))
    assert reader.repeated
    assert len(reader.calls()) == 1
