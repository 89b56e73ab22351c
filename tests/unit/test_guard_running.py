"""Runs under a policy: rows, recordings, remembered settings, traces."""

from __future__ import annotations

import json

import pytest
from guard_fakes import ATTACK, KEY
from guard_shop import POLICY, PROMPT, ask, decisions, shop_engine, spans

import llmops_jupyter as lo
from llmops_jupyter.engine.cassette import Cassette
from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine
from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.guard.check import About
from llmops_jupyter.records import Completion, Verdict


@pytest.fixture
def engine(ws, fitted):
    return shop_engine(ws)


# Rows, recordings, settings


def test_each_row_has_its_verdicts(ws, engine):
    rows = [{"q": "hi"}, {"q": ATTACK}, {"q": f"key {KEY}"}]
    table = ws.prompts.map(ws.prompts.scratch(PROMPT), rows, guard="shop")
    assert [c.text for c in table] == ["echo hi", "No.", "echo key [SECRET]"]
    assert [c.finish_reason for c in table] == ["stop", "content_filter", "stop"]
    assert len(engine.requests) == 2
    assert [r["guard"] for r in table.records()] == [
        "guard shop@1: nothing found",
        "guard shop@1: input denied by injection",
        "guard shop@1: input changed by secrets",
    ]
    assert "guard" in table._repr_mimebundle_()[0]["text/plain"].splitlines()[0]
    plain = ws.prompts.map(ws.prompts.scratch(PROMPT), rows)
    assert "guard" not in plain._repr_mimebundle_()[0]["text/plain"].splitlines()[0]
    assert [r["guard"] for r in plain.records()] == ["", "", ""]


def test_a_map_that_was_broken_off_goes_on_with_its_verdicts(ws, engine):
    rows = [{"q": "hi"}, {"q": ATTACK}, {"q": "stop"}]

    def answer(text):
        if text == "stop":
            raise KeyboardInterrupt
        return f"echo {text}"

    engine.answer = answer
    with pytest.raises(KeyboardInterrupt):
        ws.prompts.map(ws.prompts.scratch(PROMPT), rows, guard="shop")
    engine.answer = lambda text: f"echo {text}"
    asked = len(engine.requests)
    table = ws.prompts.map(ws.prompts.scratch(PROMPT), rows, guard="shop")
    assert len(engine.requests) == asked + 1
    assert isinstance(table[1].verdicts[0], Verdict)
    assert decisions(table[1].verdicts) == [("injection", "input", "deny", "blocked")]


def test_another_policy_is_another_variant_for_evaluation(ws, engine):
    content = ws.prompts.save("p", PROMPT)
    rows = [{"q": "hi", "expected": "echo hi"}]
    ws.evaluation.run("p", rows, "exact")
    ws.evaluation.run("p:guard=shop", rows, "exact")
    assert len(engine.requests) == 2
    again = ws.evaluation.run("p:guard=shop", rows, "exact")
    assert len(engine.requests) == 2
    ws.guard.add("shop", f"{POLICY}\n# a comment")
    ws.evaluation.run("p:guard=shop", rows, "exact")
    assert len(engine.requests) == 2
    ws.guard.add("shop", POLICY.replace('"No."', '"Nein."'))
    ws.evaluation.run("p:guard=shop", rows, "exact")
    assert len(engine.requests) == 3
    assert again is not None
    assert content.ref == "p@1"


def test_the_policy_is_remembered_with_the_version_and_can_be_put_off(ws, engine):
    ws.prompts.save("p", PROMPT)
    ws.prompts.run("p", {"q": "hi"}, guard="shop")
    assert ws.prompts.get("p").defaults["guard"] == "shop"
    assert ws.prompts.run("p", {"q": ATTACK}).finish_reason == "content_filter"
    put_off = ws.prompts.run("p", {"q": ATTACK}, guard="none")
    assert put_off.finish_reason == "stop"
    assert put_off.notes == ("guard shop no longer holds for p@1",)
    again = ws.prompts.run("p", {"q": ATTACK})
    assert (again.finish_reason, again.notes) == ("stop", ())
    ws.prompts.run("p", {"q": "hi"}, guard="shop")
    assert ws.prompts.run("p", {"q": ATTACK}).finish_reason == "content_filter"


def test_a_remembered_policy_holds_where_the_other_settings_are_not_those_of_the_last_run(
    ws, engine
):
    version = ws.prompts.save("p", PROMPT)
    ws.prompts.run("p", {"q": "hi"}, guard="shop", temperature=0.5)
    for prompt in ("p", version):
        done = ws.prompts.run(prompt, {"q": ATTACK}, use_defaults=False)
        assert (done.finish_reason, done.notes) == ("content_filter", ())
    assert ws.prompts.get("p").defaults["temperature"] != 0.5
    table = ws.prompts.map("p", [{"q": ATTACK}], use_defaults=False)
    assert table[0].finish_reason == "content_filter"


def test_a_changed_prompt_keeps_the_policy_of_the_version_before_and_says_so(ws, engine):
    ws.prompts.save("p", PROMPT)
    ws.prompts.run("p", {"q": "hi"}, guard="shop")
    ws.prompts.save("p", f"{PROMPT}!")
    done = ws.prompts.run("p", {"q": ATTACK})
    assert done.finish_reason == "content_filter"
    assert done.notes == ("guard shop holds as for p@1; --guard none puts it off",)
    assert ws.prompts.run("p", {"q": ATTACK}).notes == ()
    ws.prompts.run("p", {"q": "hi"}, guard="none")
    ws.prompts.save("p", f"{PROMPT}?")
    assert ws.prompts.run("p", {"q": ATTACK}).finish_reason == "stop"
    assert ws.prompts.run("p@1", {"q": ATTACK}).finish_reason == "content_filter"


def test_the_policy_is_remembered_as_it_was_written_so_that_what_it_points_at_may_change(
    ws, engine
):
    ws.guard.alias("shop@1", "prod")
    ws.prompts.save("p", PROMPT)
    ws.prompts.run("p", {"q": "hi"}, guard="shop@prod")
    ws.guard.add("shop", POLICY.replace("forbidden", "echo"))
    assert ws.prompts.run("p", {"q": "hi"}).finish_reason == "stop"
    ws.guard.alias("shop@2", "prod")
    done = ws.prompts.run("p", {"q": "hi"})
    assert done.finish_reason == "content_filter"
    assert done.verdicts[0].policy == "shop@2"
    ws.prompts.run("p", {"q": "hi"}, guard="shop@1")
    assert ws.prompts.run("p", {"q": "hi"}).finish_reason == "stop"
    ws.prompts.run("p", {"q": "hi"}, guard=ws.guard.get("shop"))
    assert ws.prompts.get("p").defaults["guard"] == "shop@2"


def test_an_unknown_policy_is_told_before_anything(ws, engine):
    with pytest.raises(UnknownNameError, match="Did you mean 'shop'"):
        ask(ws, "hi", guard="shoq")
    with pytest.raises(OptionError, match="name of a guard policy"):
        ask(ws, "hi", guard=3)
    assert engine.requests == []
    assert ws.traces.newest() == []


def test_a_replayed_run_gets_the_same_verdicts_in_the_same_trace(ws, engine, tmp_path):
    cassette = Cassette(tmp_path / "c.json")
    inputs = ["hi", ATTACK, f"my {KEY}"]
    engine.answer = lambda text: f"{text} {KEY}"
    ws.engine.engine = lambda model=None: RecordingEngine(engine, cassette)
    recorded = [ask(ws, q) for q in inputs]
    mapped = ws.prompts.map(ws.prompts.scratch(PROMPT), [{"q": q} for q in inputs], guard="shop")
    cassette_again = Cassette.load(cassette.path)
    with lo.open(":memory:") as other:
        other.guard.add("shop", POLICY)
        other.engine.engine = lambda model=None: ReplayEngine(cassette_again, "fake", "f" * 64)
        played = [ask(other, q) for q in inputs]
        again = other.prompts.map(
            other.prompts.scratch(PROMPT), [{"q": q} for q in inputs], guard="shop"
        )
    assert [(c.text, decisions(c.verdicts), c.trace_id) for c in played] == [
        (c.text, decisions(c.verdicts), c.trace_id) for c in recorded
    ]
    assert [(c.text, c.trace_id) for c in again] == [(c.text, c.trace_id) for c in mapped]


def test_a_recording_can_be_replayed_under_another_policy(ws, engine, tmp_path):
    cassette = Cassette(tmp_path / "c.json")
    ws.engine.engine = lambda model=None: RecordingEngine(engine, cassette)
    recorded = ask(ws, "hi")
    again = Cassette.load(cassette.path)
    with lo.open(":memory:") as other:
        other.guard.add("other", POLICY.replace("forbidden", "echo"))
        other.engine.engine = lambda model=None: ReplayEngine(again, "fake", "f" * 64)
        played = ask(other, "hi", guard="other")
        assert (played.text, played.finish_reason) == ("No.", "content_filter")
        assert other.traces.get(played.trace_id).spans[2].output[0].content == recorded.text


# Traces


def test_each_place_has_a_span_with_verdicts_and_the_trace_shows_them(ws, engine):
    engine.answer = lambda text: f"the key is {KEY}"
    ask(ws, f"my {KEY}")
    first, second = spans(ws)
    assert first.name == "guard input shop@1"
    assert first.attributes["llmops.guard.policy"] == "shop@1"
    assert first.attributes["llmops.guard.action"] == "replaced"
    verdicts = first.attributes["llmops.guard.verdicts"]
    assert [v["check"] for v in verdicts] == ["injection", "secrets"]
    assert verdicts[0]["score"] == pytest.approx(0.02)
    assert second.attributes["llmops.guard.place"] == "output"
    assert KEY not in json.dumps([first.attributes, second.attributes])
    text = str(ws.traces.last())
    assert "modify secrets → replaced" in text
    assert "allow injection (score 0.020 of 0.5)" in text
    assert "modify secrets" in ws.traces.last()._repr_mimebundle_()[0]["text/html"]


def test_traces_are_redacted_as_ever(ws, engine):
    ws.configure(redact="pii")
    ws.guard.add("words", "input:\n  - check: words\n    banned: ['ada*']\n    action: deny\n")
    ask(ws, "ada@example.com and Ada", guard="words")
    assert "ada@example.com" not in json.dumps([s.attributes for s in ws.traces.last().spans])


def test_the_summary_names_each_place_once():
    made = [
        Verdict("a", "input", "modify", "replaced", policy="p@1"),
        Verdict("b", "input", "modify", "replaced", policy="p@1"),
        Verdict("c", "context", "deny", "blocked", policy="p@1"),
        Verdict("c", "context", "deny", "blocked", policy="p@1"),
        Verdict("d", "output", "deny", "noted", policy="p@1"),
        Verdict("e", "output", "warn", "noted", policy="p@1"),
        Verdict("f", "output", "allow", "none", policy="p@1"),
    ]
    assert Completion("", verdicts=tuple(made)).guarded() == (
        "guard p@1: input changed by a and b, context denied by c, output would be denied by d, output warned of by e"
    )
    assert Completion("").guarded() == ""
    assert About().place == "input"
