"""The panel of rules: what it sends, what its buttons do, when its thread runs, what is kept."""

from __future__ import annotations

import json
import threading
import time

import pytest
from monitor_fakes import Traffic

from llmops_jupyter.errors import UnknownNameError

panels = pytest.importorskip("llmops_jupyter.panels.monitor", reason="needs anywidget")
HOSTILE = "<img src=x onerror='window.pwned=1'>\ud800"


@pytest.fixture
def traffic(ws):
    return Traffic(ws)


@pytest.fixture
def panel(ws, traffic, monkeypatch):
    monkeypatch.setattr(panels, "LOOK_S", 0.05)
    traffic.add(40)
    traffic.add(20, status="error", text="<b>no</b>")
    ws.monitor.alerts.add(name="calm", metric="p95_latency_s", alert=30)
    ws.monitor.alerts.add(name="errors", metric="error_rate", warn=0.1, alert=0.2)
    ws.monitor.alerts.look()
    made = panels.MonitorPanel(ws.monitor)
    yield made
    made.close()


def press(panel, action, rule="errors", ask="me-1"):
    panel._received(panel, {"action": action, "rule": rule, "ask": ask}, [])
    return panel.shown


def soon(condition):
    """Whether it comes to hold within a while."""
    end = time.monotonic() + 20
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return holds


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("llmops-panel")]


def test_it_shows_the_worst_rule_first_with_its_timeline(panel):
    assert [rule["name"] for rule in panel.rules] == ["calm", "errors"]
    assert panel.shown["rule"] == "errors"
    assert panel.timeline["limits"] == {"alert": 0.2, "warning": 0.1}
    ((_, value, low, high, state),) = panel.timeline["points"]
    assert (value, state) == (pytest.approx(1 / 3), "alert")
    assert low < value < high
    assert json.dumps([panel.rules, panel.shown, panel.timeline])


def test_its_buttons_do_what_they_say_and_are_answered(panel, ws):
    assert press(panel, "choose", "calm", "a-1")["heard"] == "a-1"
    assert panel.timeline["rule"] == "calm"
    press(panel, "silence")
    assert panel.rules[1]["silenced"]
    press(panel, "speak")
    assert not panel.rules[1]["silenced"]
    press(panel, "acknowledge")
    assert panel.rules[1]["acknowledged"]
    press(panel, "traces")
    assert panel.traces["rule"] == "errors"
    assert len(panel.traces["rows"]) == 5
    assert panel.traces["rows"][0]["text"] == "<b>no</b>"
    assert panel.shown["said"] == ""
    assert (
        press(panel, "traces", "calm")["said"] == "This rule has kept no traces of its last looks."
    )


def test_what_cannot_be_done_is_said_and_a_strange_message_harms_nothing(panel, ws):
    assert "no rule 'gone'" in press(panel, "silence", "gone")["said"]
    assert "no alarm to acknowledge" in press(panel, "acknowledge", "calm")["said"]
    for content in (
        None,
        3,
        [],
        {},
        {"action": ["x"], "rule": {}},
        {"action": "seen", "on": "yes"},
    ):
        panel._received(panel, content, [])
    assert panel.shown["rule"] == "errors"
    ws.monitor.alerts.remove("errors")
    assert "no rule 'errors'" in press(panel, "silence")["said"]
    assert panel.shown["rule"] == "calm"


def test_look_now_looks_beside_the_kernel(panel, ws, traffic):
    traffic.add(4000)
    press(panel, "look")
    assert soon(lambda: not panel.shown["looking"] and panel.rules[1]["state"] == "ok")


def test_it_is_refreshed_only_while_it_is_seen(panel, ws):
    assert not threads()
    panel._received(panel, {"action": "seen", "on": True}, [])
    assert len(threads()) == 1
    panel._received(panel, {"action": "seen", "on": True}, [])
    assert len(threads()) == 1
    ws.monitor.alerts.silence("calm", "1h")
    assert soon(lambda: panel.rules[0]["silenced"])
    panel._received(panel, {"action": "seen", "on": False}, [])
    assert soon(lambda: not threads())
    panel._received(panel, {"action": "seen", "on": True}, [])
    panel.close()
    assert soon(lambda: not threads())


def test_a_browser_that_went_away_without_a_word_ends_it(panel, monkeypatch):
    monkeypatch.setattr(panels, "SEEN_S", 0.1)
    panel._received(panel, {"action": "seen", "on": True}, [])
    assert soon(lambda: not threads())


def test_a_closed_workspace_is_said_and_ends_it(panel, ws):
    panel._received(panel, {"action": "seen", "on": True}, [])
    ws.close()
    assert soon(lambda: not threads())
    assert "closed" in panel.shown["said"]


def test_without_rules_it_says_how_to_add_some(ws):
    made = panels.MonitorPanel(ws.monitor)
    assert (made.rules, made.shown["rule"], made.timeline) == ([], "", {})
    assert made.shown["title"] == "no rules yet"
    assert press(made, "look")["said"] == ""
    assert soon(
        lambda: "no rules yet" in made.shown["said"].casefold() or not made.shown["looking"]
    )
    made.close()
    with pytest.raises(UnknownNameError):
        panels.MonitorPanel(ws.monitor, "gone")


def test_a_saved_notebook_keeps_a_table_and_a_picture_and_nothing_that_runs(ws, traffic):
    kept = []
    traffic.add(40, status="error")
    rule = {"name": "errors", "metric": "error_rate", "alert": 0.2, "note": HOSTILE}
    ws.monitor.alerts.add(**rule)
    ws.monitor.alerts.silence("errors", "1h", why=HOSTILE)
    ws.monitor.alerts.look()
    panel = panels.MonitorPanel(ws.monitor, tell=kept.append)
    made = panel.bundle()
    assert "<img src=x" not in made["text/html"]
    assert "data:image/png;base64," in made["text/html"]
    assert "1 rule: 1 alert" in made["text/plain"]
    assert json.dumps(panel.rules[0]["remarks"])
    assert kept
    panel.close()
