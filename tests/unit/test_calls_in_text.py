"""Calls of tools in the text of answers: what is shown, and what is read of odd ones."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_jupyter.engine.callforms import HERMES, LLAMA, MISTRAL, MISTRAL_NAMED, read_calls
from llmops_jupyter.engine.text import AnswerStream
from llmops_jupyter.engine.thinking import Marks
from llmops_jupyter.engine.toolcalls import Calling, CallReader
from llmops_jupyter.records import Tool

FORMS = (HERMES, LLAMA, MISTRAL, MISTRAL_NAMED)
WEATHER = Tool(
    "weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ADD = Tool("add", "Add numbers.", {"type": "object", "properties": {}})
TOOLS = (WEATHER, ADD)
names = st.text("abcdefghij_", min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
arguments = st.dictionaries(st.text(max_size=8), values, max_size=4)
several = st.lists(st.tuples(names, arguments), min_size=1, max_size=3, unique_by=repr)


def written(form, calls, space="\n"):
    """Calls as a model of that form writes them."""

    def whole(name, given):
        return json.dumps({"name": name, form.arguments: given}, ensure_ascii=False)

    if form.style == "named":
        return "".join(f"{form.begin}{n}{form.separator}{json.dumps(a)}" for n, a in calls)
    if form.listed:
        return f"{form.begin}[{', '.join(whole(*call) for call in calls)}]"
    if form.end:
        return space.join(f"{form.begin}{space}{whole(*c)}{space}{form.end}" for c in calls)
    return form.begin + ";".join(whole(*call) for call in calls)


def fed(text, cuts, form=HERMES, marks=None, stop=()):
    """A stream that has got a text in pieces, as bytes, and the answer it has shown."""
    reader = CallReader(Calling(form, TOOLS))
    stream = AnswerStream(stop, marks, calls=reader)
    raw, shown, begin = text.encode(), [], 0
    for end in [*sorted(c for c in cuts if c < len(raw)), len(raw)]:
        shown += stream.add(raw[begin:end])
        begin = end
    shown += stream.end()
    answer = "".join(piece for thought, piece in shown if not thought)
    assert answer == stream.text
    return reader, answer


cuts = st.lists(st.integers(0, 300), max_size=12)


@settings(deadline=None)
@given(st.sampled_from(FORMS), several, cuts, st.text('abc <[{"é.', max_size=20))
def test_text_before_calls_is_the_answer(form, calls, cuts, before):
    if form.bare and '{"name"' in "".join(before.split()):
        return
    reader, shown = fed(before + written(form, calls), cuts, form)
    assert shown == before
    assert [(c.name, c.arguments) for c in reader.calls()] == calls


@settings(deadline=None)
@given(st.sampled_from(FORMS), st.text('{}[]",:namerguts0 \n<>/_|', max_size=60))
def test_rubbish_behind_a_mark_is_an_error_or_a_call(form, text):
    assert all(isinstance(n, str) for n, _ in read_calls(form.begin + text, form, cut=True))
    with contextlib.suppress(ValueError):
        found = read_calls(form.begin + text, form)
        assert found
        assert all(isinstance(a, dict) for _, a in found)


def test_nesting_without_end_is_an_error_and_no_crash():
    with pytest.raises(ValueError):
        read_calls("<tool_call>" + "[" * 200_000, HERMES)
    assert read_calls("<tool_call>" + "[" * 200_000, HERMES, cut=True) == []


def test_a_call_that_was_cut_leaves_those_before_it():
    text = written(HERMES, [("add", {"a": 1}), ("add", {"a": 2})])
    assert read_calls(text[:-20], HERMES, cut=True) == [("add", {"a": 1})]
    with pytest.raises(ValueError):
        read_calls(text[:-20], HERMES)


def test_arguments_may_be_json_in_a_text_and_may_be_absent():
    text = '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>'
    assert read_calls(text, HERMES) == [("add", {"a": 1})]
    assert read_calls('<tool_call>{"name": "add"}', HERMES) == [("add", {})]
    wrapped = '{"type": "function", "function": {"name": "add", "parameters": {"a": 2}}}'
    assert read_calls(wrapped, LLAMA) == [("add", {"a": 2})]


def test_an_answer_of_llama_that_is_json_but_no_call_is_shown():
    text = '{"city": "Oslo", "name": "x"}'
    reader, shown = fed(text, range(40), LLAMA)
    assert not reader.begun
    assert shown == text


def test_a_call_in_reasoning_is_reasoning():
    marks = Marks("<think>", "</think>")
    text = '<think>maybe <tool_call>{"name": "x"}</tool_call></think>' + written(
        HERMES, [("add", {})]
    )
    reader, shown = fed(text, range(200), marks=marks)
    assert shown == ""
    assert [c.name for c in reader.calls()] == ["add"]
