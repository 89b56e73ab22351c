"""The loss that base and adapter are compared by: of the tokens that are scored, and of rows that can be."""

from __future__ import annotations

import pytest
from tiny_chats import write_chat

from llmops_jupyter.data.examples import Example, Format
from llmops_jupyter.finetune.losses import left_out, losses, read_rows, usable
from llmops_jupyter.records import Message

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")


def asked(question, answer):
    return Example((Message("user", question), Message("assistant", answer)))


@pytest.mark.parametrize("starts", [False, True])
def test_a_token_that_starts_every_text_is_not_counted(ws, tmp_path, starts):
    ws.models.add(write_chat(tmp_path / "tiny.gguf", starts=starts), name="tiny")
    engine = ws.engine.engine("tiny")
    example = asked("What is 8?", "It is even.")
    ((total,),) = engine.score([(example.messages[:-1], [example.answer])])
    (loss,) = losses([("r", example)], engine, ())
    assert loss == pytest.approx(-total / len("It is even."))


def test_rows_without_a_loss_are_told(ws, tmp_path):
    ws.models.add(write_chat(tmp_path / "tiny.gguf"), name="tiny")
    rows = {
        "good": asked("What?", "It."),
        "long": asked("What? " * 60, "It."),
        "calls": asked("What?", " "),
        "letter": Example(text="a"),
        "text": Example(text="ab"),
    }
    found, faults = usable(list(rows.items()), ws.engine.engine("tiny"))
    assert [i for i, _ in found] == ["good", "text"]
    assert [f.partition(":")[0] for f in faults] == ["row long", "row calls", "row letter"]
    assert left_out(faults, "set").startswith("left out of the set: 3 rows (row long: ")
    assert left_out([], "set") == ""


def test_a_set_is_read_by_the_columns_of_the_run_where_it_has_them(ws):
    own = Format("completion", ("message", "order"), "Be brief.")
    both = {"message": "asked", "order": "done", "question": "x", "answer": "y"}
    found, faults = read_rows(ws.data.add("a", [both, {**both, "message": None}]), own)
    assert [(e.prompt, e.answer, e.messages[0].role) for _, e in found] == [
        ("asked", "done", "user")
    ]
    assert len(faults) == 1
    other = ws.data.add("b", [{"question": "x", "answer": "y"}])
    assert [e.answer for _, e in read_rows(other, own)[0]] == ["y"]
