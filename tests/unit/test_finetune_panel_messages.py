"""The panel of a fine-tuning run: what it sends, what its buttons do, when its thread ends, what is kept."""

from __future__ import annotations

import json
import threading
import time

import pytest
from shells import Notebook

from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.finetune import job, launching

panels = pytest.importorskip("llmops_jupyter.panels.finetune", reason="needs anywidget")
HOSTILE = "<img src=x onerror='window.pwned=1'>"


def steps(events, first, last, of=100):
    for n in range(first, last + 1):
        at = {"step": n, "steps": of, "seconds": n / 2, "tokens": 100 * n}
        events.add({"kind": "step", "loss": 10 / n, "smoothed": 11 / n, **at})


def look(events, step, loss):
    at = {"step": step, "steps": 100, "seconds": step / 2, "tokens": 100 * step}
    events.add({"kind": "eval", "loss": loss, "best": True, **at})


@pytest.fixture
def begun(ws, begun_run, monkeypatch):
    monkeypatch.setattr(panels, "LOOK_S", 0.05)
    return begun_run(ws, "20260101-000000-aaaa", "tickets", [("Where?", HOSTILE)])


@pytest.fixture
def panel(ws, begun):
    made = panels.FinetunePanel(ws.finetune)
    yield made
    made.close()


def press(panel, action, run="", ask="me-1"):
    panel._received(panel, {"action": action, "run": run or panel.shown["id"], "ask": ask}, [])
    return panel.shown


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("llmops-panel-")]


def test_it_follows_a_run_until_that_is_over(panel, begun):
    _, _, events = begun
    assert (panel.shown["step"], panel.curve["losses"]) == (0, [])
    look(events, 0, 9.0)
    steps(events, 1, 20)
    look(events, 20, 2.5)
    until(lambda: panel.shown["step"] == 20)
    assert panel.curve["losses"][-1] == [20, 0.5, 0.55]
    assert (panel.curve["evals"], panel.curve["best"]) == ([[0, 9.0], [20, 2.5]], [20, 2.5])
    assert panel.shown["speed"] == 200
    assert panel.shown["left"] == "40 s"
    assert panel.shown["base"] == 9.0
    assert len(threads()) == 1
    events.add({"kind": "sample", "when": "after", "number": 0, "text": "Here."})
    events.add({"kind": "end", "ended": "finished", "step": 20})
    until(lambda: panel.shown["status"] == "finished")
    until(lambda: not threads())
    assert panel.shown["samples"] == [
        {"asked": "Where?", "wanted": HOSTILE, "before": "", "after": "Here."}
    ]
    assert (panel.shown["left"], panel.shown["can_stop"], panel.shown["can_resume"]) == (
        "",
        False,
        False,
    )
    assert [run["status"] for run in panel.runs] == ["finished"]


def test_its_thread_ends_when_it_is_closed(panel):
    assert len(threads()) == 1
    panel.close()
    until(lambda: not threads())


def test_its_thread_ends_with_the_workspace(ws, panel):
    ws.close()
    until(lambda: not threads())
    assert panel.shown["said"]


def test_stop_asks_the_run_to_stop_and_resume_goes_on(panel, begun, monkeypatch):
    _, folder, events = begun
    steps(events, 1, 3)
    shown = press(panel, "stop")
    assert (folder / job.STOP).exists()
    assert (shown["heard"], shown["said"], shown["can_stop"]) == ("me-1", "", False)
    assert shown["phase"] == "stops after this step"
    events.add({"kind": "end", "ended": "stopped", "step": 3})
    until(lambda: panel.shown["can_resume"])
    until(lambda: not threads())
    began = []
    monkeypatch.setattr(launching, "launch", began.append)
    base = type("Base", (), {"sha256": "0" * 64})()
    models = type(panel.stage._models())
    monkeypatch.setattr(models, "get", lambda self, ref: base)
    monkeypatch.setattr(models, "check_unchanged", lambda self, model: model)
    shown = press(panel, "resume", ask="me-2")
    assert (began, shown["heard"], shown["status"]) == ([folder], "me-2", "running")
    assert not (folder / job.STOP).exists()
    until(lambda: len(threads()) == 1)


def test_what_cannot_be_done_is_said(panel, begun):
    assert "is running" in press(panel, "resume")["said"]
    assert "no-such-run" in press(panel, "choose", "no-such-run")["said"]
    assert press(panel, "nonsense")["said"] == ""
    panel._received(panel, "nonsense", [])
    assert panel.shown["id"] == begun[0]


def test_another_run_can_be_chosen(ws, panel, begun, begun_run):
    other, _, events = begun_run(ws, "20260102-000000-bbbb", "mails")
    steps(events, 1, 2)
    shown = press(panel, "choose", other)
    assert (shown["id"], shown["name"], shown["step"]) == (other, "mails", 2)
    assert [run["id"] for run in panel.runs] == [other, begun[0]]
    assert press(panel, "choose", begun[0])["step"] == 0


def test_a_long_curve_is_sent_with_as_many_points_as_one_can_see(ws, panel, begun):
    _, _, events = begun
    steps(events, 1, 1999, of=2000)
    until(lambda: panel.shown["step"] == 1999)
    losses = panel.curve["losses"]
    assert len(losses) == 400
    assert losses[0] == [5, pytest.approx(sum(10 / n for n in range(1, 6)) / 5), 11 / 5]
    assert losses[-1][0] == 1999
    assert len(json.dumps(panel.curve)) < 40_000


def test_texts_are_cut_and_can_be_sent(ws, begun_run):
    run, _, _ = begun_run(ws, "20260103-000000-cccc", "odd", [("x" * 9000, "\udc80")])
    panel = panels.FinetunePanel(ws.finetune, run)
    (sample,) = panel.shown["samples"]
    assert sample["asked"].endswith("… (9,000 characters)")
    assert sample["wanted"].encode()
    panel.close()


def test_what_is_kept_is_a_picture_and_a_table_with_nothing_that_runs(ws, begun):
    _, _, events = begun
    told = []
    panel = panels.FinetunePanel(ws.finetune, tell=told.append)
    assert "<img alt" not in told[-1]["text/html"]
    look(events, 0, 9.0)
    steps(events, 1, 20)
    events.add({"kind": "end", "ended": "finished", "step": 20})
    until(lambda: panel.shown["status"] == "finished")
    until(lambda: len(told) == 2)
    kept = told[-1]
    assert kept["text/plain"].startswith("tickets · finished · step 20 of 100")
    assert "<img alt='loss over steps'" in kept["text/html"]
    assert "src='data:image/png;base64,iVBOR" in kept["text/html"]
    assert "&lt;img src=x" in kept["text/html"]
    assert HOSTILE not in kept["text/html"]
    data, _ = panel._repr_mimebundle_()
    assert data["text/plain"] == "(fine-tuning panel)"
    panel.close()
    alone = panels.FinetunePanel(ws.finetune)
    data, _ = alone._repr_mimebundle_()
    assert data["text/html"] == kept["text/html"]
    alone.close()


def test_in_a_terminal_it_is_said_what_to_use_instead(ws, begun, capsys):
    notebook = Notebook(ws)
    try:
        with pytest.raises(OptionError, match="%finetune status tickets"):
            notebook.run("%finetune panel")
        with pytest.raises(UnknownNameError, match="Did you mean 'tickets'"):
            notebook.run("%finetune panel tikets")
    finally:
        notebook.close()
    assert llmops(["finetune", "panel"]) != 0
    assert "%finetune panel" in capsys.readouterr().err


def test_runs_are_completed(ws, begun):
    from llmops_jupyter.magics.completion import candidates

    notebook = Notebook(ws)
    session = type("Session", (), {"workspace": ws, "shell": notebook.shell})()
    try:
        assert candidates(session, "%finetune panel t") == ["tickets", begun[0]]
    finally:
        notebook.close()
