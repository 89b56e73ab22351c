"""The checks of a policy one after another: what each decides, changes, and says where it fails."""

from __future__ import annotations

import pytest
from guard_fakes import ATTACK, KEY, FakeInjection
from guard_shop import POLICY, decisions, shop_engine

from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.guard.check import Finding


@pytest.fixture
def engine(ws, fitted):
    return shop_engine(ws)


@pytest.mark.parametrize(("on_error", "allowed"), [("warn", True), ("deny", False)])
def test_what_was_not_read_leaves_a_check_undecided(ws, engine, monkeypatch, on_error, allowed):
    monkeypatch.setattr(
        FakeInjection, "find", lambda self, text, about: Finding(0.1, False, "calm", unread=12_345)
    )
    rule = {"check": "injection", "action": "deny", "on_error": on_error}
    ws.guard.add("long", {"input": [rule]})
    report = ws.guard.check("a long text", "long")
    assert report.allowed is allowed
    assert "12,345 characters in the middle were not read" in report.verdicts[0].reason
    assert report.verdicts[0].decision == on_error


def test_checks_are_asked_in_order_and_each_gets_what_is_left(ws, engine):
    report = ws.guard.check(f"key {KEY} here", "shop")
    assert report.text == "key [SECRET] here"
    assert [v.check for v in report.verdicts] == ["injection", "secrets"]
    assert all(v.policy == "shop@1" and v.duration_s >= 0 for v in report.verdicts)
    denied = ws.guard.check(f"{ATTACK} and print {KEY}", "shop")
    assert (denied.text, denied.allowed) == ("No.", False)
    assert [v.check for v in denied.verdicts] == ["injection"]
    assert (denied.verdicts[0].score, denied.verdicts[0].threshold) == (0.9, 0.5)


def test_a_policy_that_observes_decides_and_does_nothing(ws, engine):
    ws.guard.add("look", f"mode: observe\n{POLICY}")
    report = ws.guard.check(f"{ATTACK} with {KEY}", "look")
    assert report.allowed
    assert report.text == f"{ATTACK} with {KEY}"
    assert decisions(report.verdicts) == [
        ("injection", "input", "deny", "noted"),
        ("secrets", "input", "modify", "noted"),
    ]


@pytest.mark.parametrize(
    ("on_error", "decision", "action", "allowed"),
    [("warn", "warn", "noted", True), ("deny", "deny", "blocked", False)],
)
def test_a_check_that_fails_is_told_and_never_raises(
    ws, engine, on_error, decision, action, allowed
):
    ws.guard.add("broken", f"on_error: {on_error}\ninput: [toxicity]\noutput: [refusal]\n")
    report = ws.guard.check(f"a {KEY} b", "broken")
    (verdict,) = report.verdicts
    assert (verdict.decision, verdict.action, report.allowed) == (decision, action, allowed)
    assert "the check failed: RuntimeError: cannot read a [SECRET] b" in verdict.reason
    (odd,) = ws.guard.check("x", "broken", "output").verdicts
    assert "scores lie between 0 and 1" in odd.reason
    assert odd.decision == decision


def test_a_judge_that_abstains_warns(ws, engine, monkeypatch):
    monkeypatch.setattr(ws.guard, "_judge", lambda: lambda *_: (None, "too weak"))
    examples = [{"text": f"t{i}", "label": i % 2 == 0} for i in range(10)]
    ws.guard.add(
        "judged",
        {"input": [{"check": "judge", "question": "?", "examples": examples, "action": "deny"}]},
    )
    report = ws.guard.check("x", "judged")
    assert report.allowed
    assert report.verdicts[0].decision == "warn"
    assert "abstains: too weak" in report.verdicts[0].reason


def test_what_cannot_be_taken_out_is_denied(ws, engine):
    ws.guard.add("cut", "input:\n  - check: length\n    min_words: 3\n    action: modify\n")
    report = ws.guard.check("one", "cut")
    assert (report.allowed, report.verdicts[0].decision) == (False, "deny")
    assert "cannot be taken out" in report.verdicts[0].reason


def test_a_check_without_a_way_to_replace_loses_its_sentences(ws, engine, monkeypatch):
    def bare(self, text, about):
        bad = ATTACK in text.lower() or ("one half" in text and "other half" in text)
        return Finding(0.9 if bad else 0.1, False, "")

    monkeypatch.setattr(FakeInjection, "find", bare)
    text = f"The valve opens at nine bar. Now {ATTACK}! Then close it.\nEnd"
    assert ws.guard.check(text, "shop", "context").text == (
        "The valve opens at nine bar. Then close it.\nEnd"
    )
    assert ws.guard.check(ATTACK, "shop", "context").text == ""
    spread = ws.guard.check("This is one half. This is the other half.", "shop", "context")
    assert not spread.allowed


def test_action_allow_and_warn_only_note(ws, engine):
    ws.guard.add(
        "soft", "input:\n  - check: secrets\n    action: allow\n  - check: pii\n    action: warn\n"
    )
    report = ws.guard.check(f"{KEY} ada@example.com", "soft")
    assert report.text == f"{KEY} ada@example.com"
    assert [(v.decision, v.action) for v in report.verdicts] == [
        ("allow", "noted"),
        ("warn", "noted"),
    ]


def test_wrong_questions_are_refused(ws, engine):
    with pytest.raises(UnknownNameError, match="Did you mean 'shop'"):
        ws.guard.check("x", "shopp")
    with pytest.raises(OptionError, match="place is one of"):
        ws.guard.check("x", "shop", "inside")
    with pytest.raises(OptionError, match="a text, not int"):
        ws.guard.check(3, "shop")
    with pytest.raises(OptionError, match="A check may know"):
        ws.guard.check("x", "shop", wrong=1)
    ws.guard.add("out", "output: [canary]\n")
    with pytest.raises(OptionError, match="has no checks for input; it has some for output"):
        ws.guard.check("x", "out")
