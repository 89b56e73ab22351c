"""Running a prompt over rows: what a map that was broken off takes up again, and what it never keeps."""

from __future__ import annotations

import numpy as np
import pytest
from engine_fakes import plug

from llmops_jupyter.errors import OptionError


@pytest.fixture
def engine(ws):
    return plug(ws)


def stop_after(count):
    def stop(progress):
        if progress.done == count:
            raise KeyboardInterrupt

    return stop


def broken_off(ws, prompt, rows, count=1, **options):
    with pytest.raises(KeyboardInterrupt):
        ws.prompts.map(prompt, rows, progress=stop_after(count), **options)


def test_a_map_with_other_shared_values_begins_anew(ws, engine):
    content = ws.prompts.scratch("{{ tone }}: {{ q }}")
    rows = [{"q": str(n)} for n in range(4)]
    broken_off(ws, content, rows, 2, variables={"tone": "RUDE"})
    table = ws.prompts.map(content, rows, variables={"tone": "POLITE", "unused": object()})
    assert [c.text for c in table] == [f"echo POLITE: {n}" for n in range(4)]


def test_a_map_with_the_same_values_goes_on_whatever_else_has_changed(ws, engine):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": n, "unused": n} for n in range(3)]
    broken_off(ws, content, rows, 2, variables={"other": 1})
    seen = []
    ws.prompts.map(content, [{"q": n} for n in range(3)], progress=seen.append)
    assert seen[0].resumed == 2


def test_long_arrays_that_differ_in_the_middle_are_different_rows(ws, engine):
    content = ws.prompts.scratch("{{ a | sum }}")
    zeros, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 99
    broken_off(ws, content, [{"a": zeros}, {"a": zeros}])
    table = ws.prompts.map(content, [{"a": other}, {"a": zeros}])
    assert [c.text for c in table] == ["echo 99.0", "echo 0.0"]


@pytest.mark.parametrize(
    "changed", [{"temperature": 0.1}, {"frequency_penalty": 1}, {"exact": True}, {"seed": 3}]
)
def test_a_map_with_other_settings_begins_anew(ws, engine, changed):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": "a"}, {"q": "b"}]
    broken_off(ws, content, rows)
    seen = []
    ws.prompts.map(content, rows, progress=seen.append, **changed)
    assert seen[0].resumed == 0


def test_nothing_of_a_broken_off_map_is_kept_unredacted(ws, engine):
    ws.configure(redact="pii")
    content = ws.prompts.scratch("mail {{ q }}")
    rows = [{"q": "ada@example.com"}, {"q": "bob"}, {"q": "cy"}]
    broken_off(ws, content, rows, 2, logprobs=2)
    assert "ada@example.com" not in "\n".join(ws.store.read().iterdump())
    table = ws.prompts.map(content, rows, logprobs=2)
    assert [c.text for c in table] == ["echo mail [EMAIL]", "echo mail bob", "echo mail cy"]
    assert "personal data was left out" in table[0].notes[0]
    assert table[1].notes == ()
    assert table[0].logprobs == ()


def test_a_map_with_a_failed_row_is_finished_and_runs_anew(ws, engine):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": "a"}, {"q": "bad"}]
    first = ws.prompts.map(content, rows)
    again = ws.prompts.map(content, rows)
    assert len(again.failures) == 1
    assert first[0].trace_id != again[0].trace_id


def test_rows_with_one_id_are_told_apart(ws, engine):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"id": i, "q": q} for i, q in (("x", "a"), ("x", "bad"), ("x-2", "c"), ("x", "d"))]
    table = ws.prompts.map(content, rows)
    assert len(set(table.row_ids)) == 4
    assert [bool(r["error"]) for r in table.records()] == [False, True, False, False]
    frame = pandas.DataFrame({"q": ["a", "bad"]}, index=[0, 0])
    table = ws.prompts.map(content, frame)
    assert [(r["row_id"], bool(r["error"])) for r in table.records()] == [
        ("0", False),
        ("0-2", True),
    ]


def test_names_of_columns_are_texts(ws, engine):
    table = ws.prompts.map(ws.prompts.scratch("{{ b }}"), [{1: "a", "b": 2, None: 3}])
    assert table.records()[0]["1"] == "a"


def test_rows_give_way_to_a_waiting_notebook(ws, engine):
    ws.prompts.map(ws.prompts.scratch("{{ q }}"), [{"q": 1}, {"q": 2}])
    thought = ws.prompts.scratch("{{ q }}", cot=True)
    ws.prompts.map(thought, [{"q": 1}])
    assert [r.interactive for r in engine.requests] == [False] * 4
    ws.prompts.run(thought, {"q": 1})
    assert engine.requests[-1].interactive


def test_a_session_takes_no_rows(ws, engine):
    with pytest.raises(OptionError, match="do not go together"):
        ws.prompts.map(ws.prompts.scratch("{{ q }}"), [{"q": 1}], session="s")


def test_log_probabilities_survive_a_broken_off_map(ws, engine):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": "a"}, {"q": "b"}]
    broken_off(ws, content, rows, logprobs=2)
    table = ws.prompts.map(content, rows, logprobs=2)
    assert table[0].logprobs[0].token == "echo a"
    assert table[0].logprobs == ws.prompts.map(content, rows, logprobs=2)[0].logprobs
