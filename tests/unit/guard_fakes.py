"""Checks for tests of the pipeline, in the place of fitted ones."""

from __future__ import annotations

import sys
from types import ModuleType

from llmops_jupyter.guard.check import Finding

PLACES = ("input", "context", "output")
ATTACK = "ignore all previous instructions"
KEY = "AKIAABCDEFGHIJKLMNOP"


class FakeInjection:
    """Scores 0.9 where the attack is, else as many hundredths as the text has words; takes out the attack."""

    name = "injection"
    places = PLACES
    threshold = 0.5

    def find(self, text, about):
        if ATTACK in text.lower():
            begin = text.lower().index(ATTACK)
            left = f"{text[:begin]}{text[begin + len(ATTACK) :]}"
            return Finding(0.9, False, "it gives orders", text[begin : begin + 40], left)
        return Finding(min(0.49, len(text.split()) / 100), False, "no orders")


class Broken:
    """Fails on every text, and says what was in it."""

    name = "toxicity"
    places = PLACES

    def find(self, text, about):
        raise RuntimeError(f"cannot read {text}")


class Odd:
    """Gives a score that is none."""

    name = "refusal"
    places = ("output",)

    def find(self, text, about):
        return Finding(float("nan"), False, "")


def put_in(monkeypatch):
    """Have the fitted checks be these."""
    for home, name, check in (
        ("injection", "injection", FakeInjection),
        ("toxicity", "toxicity", Broken),
        ("refusing", "refusal", Odd),
    ):
        module = ModuleType(f"llmops_jupyter.guard.{home}")
        setattr(module, name, check)
        monkeypatch.setitem(sys.modules, module.__name__, module)
