"""The labelling widget: what it shows, which decisions it takes, what a saved notebook keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotators import ROWS, judge

import llmops_jupyter.panels
from llmops_jupyter.errors import LLMOpsError

pytest.importorskip("anywidget")
HOSTILE = "<img src=x onerror='window.pwned=1'>"


@pytest.fixture
def run(ws):
    return ws.evaluation.run("column=a", ROWS, judge)


@pytest.fixture
def widget(ws, run):
    return labelling(ws.evaluation.label(run, name="ok", by="ann", limit=3))


def labelling(queue, **options):
    from llmops_jupyter.panels.labelling import Labelling

    return Labelling(queue, **options)


def decide(widget, **content):
    widget._received(widget, {"number": widget.task["number"], **content}, [])


def test_the_widget_shows_a_task_and_takes_decisions(ws, run, widget):
    assert widget.labels == [
        {"name": "good", "keys": ["1", "g"]},
        {"name": "bad", "keys": ["2", "b"]},
    ]
    assert widget.task["total"] == 3
    decide(widget, action="label", label="good", note="why not")
    decide(widget, action="skip")
    decide(widget, action="undo")
    decide(widget, action="undo")
    assert widget.task["done"] == 0
    for _ in range(3):
        decide(widget, action="label", label="bad")
    assert widget.task["over"]
    assert len(ws.evaluation.labels(run, "ok")) == 3


def test_a_label_is_in_the_store_before_the_next_task_is_shown(ws, run, widget):
    seen = []
    widget.observe(lambda _: seen.append(len(ws.evaluation.labels(run, "ok"))), "task")
    decide(widget, action="label", label="good")
    decide(widget, action="label", label="bad")
    assert seen == [1, 2]


def test_a_decision_about_an_answer_that_is_gone_is_not_taken(ws, run, widget):
    number = widget.task["number"]
    decide(widget, action="label", label="good")
    widget._received(widget, {"action": "label", "label": "bad", "number": number}, [])
    assert "nothing was kept" in widget.task["said"]
    assert [k.label for k in ws.evaluation.labels(run, "ok")] == ["good"]
    decide(widget, action="label", label="nonsense")
    assert "no label" in widget.task["said"]


def test_arrows_go_to_other_answers_and_change_nothing(ws, run, widget):
    decide(widget, action="label", label="good", note="sure")
    decide(widget, action="back")
    assert (widget.task["number"], widget.task["given"], widget.task["note"]) == (1, "good", "sure")
    decide(widget, action="back")
    assert widget.task["number"] == 1
    for _ in range(3):
        decide(widget, action="on")
    assert widget.task["number"] == 3
    assert [k.label for k in ws.evaluation.labels(run, "ok")] == ["good"]
    for _ in range(2):
        decide(widget, action="label", label="bad")
    assert widget.task["over"]
    decide(widget, action="back")
    assert (widget.task["over"], widget.task["given"]) == (False, "bad")


def test_every_decision_is_answered_even_if_nothing_changed_or_it_failed(widget, monkeypatch):
    turn = widget.task["turn"]
    decide(widget, action="back")
    assert widget.task["turn"] == turn + 1
    decide(widget, action="undo")
    assert "nothing to take back" in widget.task["said"]

    def broken(*_, **__):
        raise ValueError("unforeseen")

    monkeypatch.setattr(widget.queue, "label", broken)
    with pytest.raises(ValueError, match="unforeseen"):
        decide(widget, action="label", label="good")
    assert "nothing was kept" in widget.task["said"]
    monkeypatch.setattr(widget.queue, "skip", lambda: (_ for _ in ()).throw(LLMOpsError("full")))
    decide(widget, action="skip")
    assert widget.task["said"] == "full"


def test_what_is_sent_to_the_browser_tells_nothing_of_the_variant_or_the_judge(ws, run, widget):
    ws.evaluation.label(run, name="ok", by="bob", limit=1).label("bad", note="bob's")
    again = labelling(ws.evaluation.label(run, name="ok", by="ann"))
    sent = repr(again.get_state(["task", "labels"]))
    for secret in ("column", "yes 0", "judge", "bob"):
        assert secret not in sent
    assert set(again.task) == {
        *("turn", "done", "total", "undo", "said", "number", "over"),
        *("input", "outputs", "expected", "given", "context", "note"),
    }


def test_long_answers_are_cut_and_hostile_ones_are_sent_as_they_are(ws):
    rows = [{"question": HOSTILE, "a": HOSTILE + "x" * 30_000}]
    run = ws.evaluation.run("column=a", rows)
    task = labelling(ws.evaluation.label(run, name=HOSTILE, by="ann")).task
    assert task["input"] == HOSTILE
    assert task["outputs"][0].startswith(HOSTILE)
    assert task["outputs"][0].endswith("(30,036 characters)")


def test_a_saved_notebook_says_how_far_it_is(ws, run, widget):
    decide(widget, action="label", label="good")
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"].startswith("1 of 3 answers labelled as 'ok' by ann")
    assert "Run the cell again" in data["text/html"]
    queue = ws.evaluation.label(run, name=HOSTILE, by="ann")
    assert "<img" not in labelling(queue)._repr_mimebundle_()[0]["text/html"]


def test_a_line_beside_the_widget_is_told_of_each_decision(ws, run):
    told = []
    widget = labelling(ws.evaluation.label(run, name="ok", by="ann", limit=2), tell=told.append)
    decide(widget, action="label", label="good")
    decide(widget, action="label", label="good")
    assert told == [
        "1 of 2 answers labelled as 'ok' by ann. Run the cell again to go on.",
        "2 of 2 answers labelled as 'ok' by ann.",
    ]


def test_the_widget_s_script_sets_no_markup():
    code = (Path(llmops_jupyter.panels.__file__).parent / "labelling.js").read_text("utf-8")
    assert "innerHTML" not in code
    assert "insertAdjacentHTML" not in code
    assert "textContent" in code
