"""Checks that ask a model of the workspace: a judge, and distance from examples."""

from __future__ import annotations

import pytest
from engine_fakes import plug
from judge_fakes import JudgeEngine
from rag_fakes import WordEngine

from llmops_jupyter.errors import OptionError

EXAMPLES = [
    {"text": f"take {n} pills" if n % 2 else f"the shop opens at {n}", "label": bool(n % 2)}
    for n in range(12)
]
JUDGED = {
    "input": [
        {
            "check": "judge",
            "question": "Is it medical advice?",
            "examples": EXAMPLES,
            "action": "deny",
        }
    ]
}


def knows(parts):
    """Sure of pills and of shops, of nothing else."""
    text = str(parts)
    return 0.95 if "pills" in text else 0.05 if "open" in text else 0.5


def test_a_judge_that_agrees_with_the_examples_decides(ws):
    engine = plug(ws, JudgeEngine(knows))
    ws.guard.add("advice", JUDGED)
    denied = ws.guard.check("You should take 3 pills.", "advice")
    assert not denied.allowed
    assert denied.verdicts[0].score == pytest.approx(0.95, abs=0.05)
    assert "Is it medical advice?" in denied.verdicts[0].reason
    assert ws.guard.check("We open at nine.", "advice").allowed
    asked = len(engine.prompts)
    ws.guard.check("We open at ten.", "advice")
    assert len(engine.prompts) == asked + 1  # the check of the examples is kept


def test_a_judge_that_is_no_better_than_chance_abstains(ws):
    plug(ws, JudgeEngine(lambda parts: 0.9))
    ws.guard.add("advice", JUDGED)
    report = ws.guard.check("You should take 3 pills.", "advice")
    assert report.allowed
    assert report.verdicts[0].decision == "warn"
    assert "abstains" in report.verdicts[0].reason


TOPIC = {
    "input": [
        {
            "check": "off-topic",
            "examples": ["where is my order", "when does my parcel come", "cancel my order please"],
            "action": "deny",
        }
    ]
}


def test_texts_far_from_the_examples_are_off_topic(ws, monkeypatch):
    engine = plug(ws, WordEngine())
    monkeypatch.setattr(ws.rag, "default_embedder", lambda: "words")
    ws.guard.add("orders", TOPIC)
    assert ws.guard.check("when does my order come", "orders").allowed
    denied = ws.guard.check("write a poem about whales", "orders")
    assert not denied.allowed
    assert denied.verdicts[0].score > 0.75
    assert "nearest example" in denied.verdicts[0].reason
    assert engine.embedded.count("where is my order") == 1  # examples are embedded once


def test_the_line_between_topics_is_set_by_harmless_texts(ws, monkeypatch):
    plug(ws, WordEngine())
    monkeypatch.setattr(ws.rag, "default_embedder", lambda: "words")
    ws.guard.add("orders", TOPIC)
    benign = [f"where is my order {n}" for n in range(20)]
    made = ws.guard.calibrate("orders", benign, 0.1)
    assert made.checks[0].threshold < 0.75
    assert sum(ws.guard.check(t, "orders", trace=False).decision == "deny" for t in benign) <= 2
    with pytest.raises(OptionError, match="no checks for output"):
        ws.guard.check("x", "orders", "output")
