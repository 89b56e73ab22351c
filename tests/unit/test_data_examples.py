"""What rows teach, in the forms that data sets come in."""

from __future__ import annotations

import pytest

from llmops_jupyter.data.examples import Example, fault_of, find_format
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.records import Message


def said(*pairs):
    return Example(tuple(Message(role, content) for role, content in pairs))


def read(row, **options):
    return find_format(list(row), **options).read(row)


def test_conversations_come_in_two_spellings():
    wanted = said(("user", "Hi"), ("assistant", "Hello."))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert read({"messages": messages}) == wanted
    spoken = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]
    assert read({"conversations": spoken}) == wanted


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "completion": "4"},
        {"question": "2 + 2?", "answer": "4"},
        {"instruction": "2 + 2?", "output": "4", "id": 3},
        {"prompt": [{"role": "user", "content": "2 + 2?"}], "completion": "4"},
    ],
)
def test_a_question_with_an_answer_is_a_conversation(row):
    assert read(row) == said(("user", "2 + 2?"), ("assistant", "4"))


def test_an_instruction_takes_its_input_along():
    row = {"instruction": "Translate.", "input": "Guten Tag", "output": "Good day"}
    assert read(row) == said(("user", "Translate.\n\nGuten Tag"), ("assistant", "Good day"))
    assert read({**row, "input": ""}).prompt == "Translate."


def test_columns_of_other_names_are_named():
    row = {"mail": "Where is it?", "reply": "On its way."}
    with pytest.raises(OptionError, match="Name the columns"):
        read(row)
    assert read(row, prompt="mail", answer="reply").answer == "On its way."
    assert read({"body": "All of it."}, kind="text", prompt="body").text == "All of it."
    with pytest.raises(OptionError, match="no column 'mial'"):
        read(row, prompt="mial", answer="reply")


def test_the_system_message_is_for_those_that_have_none():
    row = {"question": "Hi", "answer": "Hello."}
    assert read(row, system="Be brief.").messages[0] == Message("system", "Be brief.")
    own = {"messages": [{"role": "system", "content": "Mine"}, {"role": "user", "content": "Hi"}]}
    assert read(own, system="Be brief.").messages[0].content == "Mine"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": "Hi"}, "no list of messages"),
        ({"messages": []}, "no messages"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "'narrator'"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1 has no text"),
        ({"question": None, "answer": "4"}, "'question' holds no text"),
    ],
)
def test_what_cannot_be_read_is_said(row, message):
    with pytest.raises(DataError, match=message):
        read(row)


@pytest.mark.parametrize(
    ("example", "fault"),
    [
        (said(("user", "a"), ("assistant", "b")), ""),
        (said(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), ""),
        (said(("user", "a"), ("assistant", " ")), "the answer is empty"),
        (said(("user", "a")), "the last message is not the assistant's"),
        (said(("assistant", "a")), "the first message is not the user's"),
        (
            said(("user", "a"), ("user", "b"), ("assistant", "c")),
            "roles are out of order: user after user",
        ),
        (
            said(("user", "a"), ("system", "b"), ("assistant", "c")),
            "a system message stands after others",
        ),
        (said(("system", "a")), "the last message is not the assistant's"),
        (Example(text=" \n"), "the text is empty"),
    ],
)
def test_the_order_of_roles_is_checked(example, fault):
    assert fault_of(example) == fault


def test_results_of_tools_stand_between_calls_and_answers():
    call = {
        "role": "assistant",
        "tool_calls": [{"id": "1", "name": "add", "arguments": {"a": 1}}],
        "content": None,
    }
    result = {"role": "tool", "content": "3", "tool_call_id": "1"}
    ask, end = {"role": "user", "content": "?"}, {"role": "assistant", "content": "3"}
    assert fault_of(read({"messages": [ask, call, result, end]})) == ""
    assert "user after assistant" in fault_of(read({"messages": [ask, call, ask, end]}))
    assert "tool after assistant" in fault_of(read({"messages": [ask, end, result, end]}))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"instruction": "a", "input": "x", "output": "b"},
        {"text": "a"},
    ],
)
def test_a_row_is_written_back_with_other_texts(row):
    row = {"id": 7, **row}
    form = find_format(list(row))
    texts = form.texts_of(row)
    assert form.write(row, texts) == row
    again = form.write(row, [t.upper() for t in texts])
    assert form.texts_of(again) == [t.upper() for t in texts]
    assert again["id"] == 7
