"""What the command line says: the nearest name, its own commands, all rows."""

from __future__ import annotations

import json

import pytest

from llmops_jupyter.cli import advice
from llmops_jupyter.cli.program import commands, run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prompts", "lst"], "Did you mean 'list'?"),
        (["promts", "list"], "Did you mean 'prompts'?"),
        (["prompts", "run", "p", "--temprature", "1"], "Did you mean '--temperature'?"),
        (["prompts", "run", "p", "-over", "d"], "Did you mean '--over'?"),
        (["traces", "list", "--limt=3"], "Did you mean '--limit'?"),
        (["prompts", "show", "nosuch"], "llmops prompts list shows what there is."),
        (["data", "show", "nosuch"], "llmops data list shows what there is."),
        (["traces", "show", "abc"], "llmops traces list"),
        (["prompts", "run", "p", "--exact", "--var", "x"], "Write --var NAME=VALUE"),
    ],
)
def test_a_wrong_word_gets_the_next_step_on_one_line(ws, capsys, words, says):
    ws.prompts.save("p", "hi")
    with ws.tracer.span("x"):
        pass
    assert run(words) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert "%" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Run %model add PATH --name x.", "Run llmops models add PATH --name x."),
        ("Help: %prompt?", "Help: llmops prompts?"),
        ("Record with %trace record c.json", "Record with %trace record (in a notebook) c.json"),
        ("Write %%prompt my-prompt", "Write %%prompt (in a notebook) my-prompt"),
        ("%config LLMOps.context_length = 2048", "LLMOPS_CONTEXT_LENGTH=2048 (a variable)"),
        ("100%model and 5 %trace50", "100%model and 5 %trace50"),
    ],
)
def test_magics_become_commands(text, says):
    assert advice.in_terminal(text, commands()) == says


def test_empty_lists_say_what_to_do_here(ws, capsys):
    for group in ("models", "data"):
        assert run([group, "list"]) == 0
    said = capsys.readouterr().out
    assert "llmops models add PATH" in said
    assert "llmops data add NAME" in said


def test_rows_are_part_of_the_json(ws, capsys):
    ws.data.add("d", [{"id": n, "q": f"q{n}"} for n in range(20)])
    assert run(["data", "show", "d", "--json", "-n", "2"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["rows"] == 20
    assert shown["items"] == [
        {"row": "0", "id": 0, "q": "q0"},
        {"row": "1", "id": 1, "q": "q1"},
    ]


def test_numbers_below_zero_and_texts_after_two_dashes_are_no_options(ws, capsys):
    ws.prompts.save("p", "hi")
    assert run(["prompts", "run", "p", "--temperature", "-1"]) == 1
    assert "temperature must be at least 0" in capsys.readouterr().err
    assert run(["prompts", "show", "--", "-x"]) == 1
    assert "cannot be the name" in capsys.readouterr().err
