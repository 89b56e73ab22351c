"""Functions and objects as checks of a policy: what they may say, and when two of them are the same."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from engine_fakes import plug
from guard_decorated import Said, same, with_policies

import llmops_jupyter as lo
from llmops_jupyter.errors import GuardError, OptionError
from llmops_jupyter.guard.decorate import NotGuardedWarning
from llmops_jupyter.guard.functions import identity_of


@pytest.fixture
def shop(ws, fitted):
    return with_policies(ws)


def test_a_check_that_fails_on_a_guarded_call_warns(shop):
    shop.guard.register("odd", lambda text: None)
    shop.guard.add("odd", "input:\n  - check: odd\n    action: deny\n")
    guarded = lo.guard("odd")(same)
    with pytest.warns(NotGuardedWarning, match="it returned NoneType") as told:
        assert guarded("a") == guarded("a") == "a"
    assert len(told) == 1
    shop.guard.add("odd", "input:\n  - check: odd\n    action: deny\n    on_error: deny\n")
    with pytest.raises(GuardError, match="it returned NoneType"):
        guarded("a")


@pytest.mark.parametrize(
    ("said", "decision", "score"),
    [
        (np.bool_(True), "deny", None),
        (np.bool_(False), "allow", None),
        (np.float32(0.75), "deny", 0.75),
        (np.array(0.25), "allow", 0.25),
        (Fraction(3, 4), "deny", 0.75),
        (1, "deny", 1.0),
    ],
)
def test_a_check_may_say_a_number_of_any_kind(ws, said, decision, score):
    ws.guard.register("mine", lambda text: said)
    ws.guard.add("own", "input:\n  - check: mine\n    action: deny\n")
    (verdict,) = ws.guard.check("a", "own").verdicts
    assert (verdict.decision, verdict.score) == (decision, score)


@pytest.mark.parametrize(("on_error", "allowed"), [("warn", True), ("deny", False)])
def test_a_check_that_says_anything_else_has_failed(ws, on_error, allowed):
    async def later(text):
        return True

    ws.guard.add("words", "input:\n  - check: words\n    banned: [x]\n")
    for said, kind in (
        (None, "NoneType"),
        ("no", "str"),
        (np.zeros(2), "numpy.ndarray"),
        (3j, "complex"),
    ):
        ws.guard.register("mine", lambda text, said=said: said)
        ws.guard.add("own", f"on_error: {on_error}\ninput:\n  - check: mine\n    action: deny\n")
        report = ws.guard.check("a", "own")
        assert report.allowed is allowed
        assert report.verdicts[0].decision == on_error
        assert f"it returned {kind};" in report.verdicts[0].reason
    ws.guard.register("mine", lambda text: later(text + ""))
    assert ws.guard.check("a", "own").allowed is allowed


def test_a_check_answers_at_once(ws):
    async def later(text):
        return True

    def pieces(text):
        yield True

    class Later:
        async def find(self, text, about):
            return None

    class Made:
        def __init__(self, text):
            pass

    for check, why in (
        (later, "a coroutine function"),
        (pieces, "a generator"),
        (Later(), "a coroutine function"),
        (3, "not int"),
        (Made, "not the class Made"),
    ):
        with pytest.raises(OptionError, match=why):
            ws.guard.register("mine", check)


BANNED = {"a"}


def test_functions_that_do_the_same_have_one_identity():
    limit = 3

    def one(text):
        return len(re.findall(r"\w", text)) > limit or text in BANNED

    def make(limit):
        def one(text):
            return len(re.findall(r"\w", text)) > limit or text in BANNED

        return one

    first = identity_of(make(3))
    assert identity_of(make(3)) == first
    assert identity_of(make(4)) != first
    assert identity_of(one).startswith("only ") is False
    BANNED.add("b")
    try:
        assert identity_of(make(3)) != first
    finally:
        BANNED.discard("b")
    assert identity_of(lambda t: same(t) > 1) == identity_of(lambda t: same(t) > 1)
    odd = object()
    assert identity_of(lambda text: odd) != identity_of(lambda text: odd)
    assert identity_of(Said("x")) != identity_of(Said("x"))


def test_answers_made_under_another_check_of_a_name_are_not_taken_again(ws):
    engine = plug(ws)
    ws.prompts.save("p", "user: {{ q }}")
    rows = [{"q": "hi", "expected": "echo hi"}]
    ws.guard.register("mine", lambda text: text == "hi")
    ws.guard.add("own", "input:\n  - check: mine\n    action: deny\n")
    ws.evaluation.run("p:guard=own", rows, "exact")
    assert len(engine.requests) == 0
    ws.guard.register("mine", lambda text: text == "ho")
    ws.evaluation.run("p:guard=own", rows, "exact")
    assert len(engine.requests) == 1
    ws.guard.register("mine", lambda text: text == "ho")
    ws.evaluation.run("p:guard=own", rows, "exact")
    assert len(engine.requests) == 1


def test_the_weights_of_fitted_checks_belong_to_what_decides(ws, monkeypatch):
    from llmops_jupyter.guard import classifier

    ws.guard.add("fit", "input: [injection]\n")
    key = ws.guard.pipeline("fit").key
    assert ws.guard.pipeline("fit").key == key
    monkeypatch.setattr(classifier, "digest_of", lambda name: f"other {name}")
    assert ws.guard.pipeline("fit").key != key
