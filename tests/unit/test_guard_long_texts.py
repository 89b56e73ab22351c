"""No text makes a check fail, and one of a megabyte takes time in proportion."""

from __future__ import annotations

import json
import random

import pytest
from guard_texts import INVISIBLE, MARK, SYSTEM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.checks import length, links, words
from llmops_jupyter.guard.checks.canary import Canary
from llmops_jupyter.guard.checks.leak import Leak
from llmops_jupyter.guard.checks.pii import make as pii
from llmops_jupyter.guard.checks.secrets import Secrets

# Long, and the same part over and over: what a pattern that backtracks would not come to the end of.
MEGABYTE = 1_000_000
UNITS = (
    *(
        "a",
        " ",
        "[",
        "](",
        "![",
        "<",
        "<a ",
        "https://",
        "data:",
        "password=",
        "@",
        "a@",
        "1",
        "0-",
    ),
    *(
        "\u200b",
        "\u200d",
        "\u202e",
        "\ufe0f",
        "\U000e0041",
        "\u00ad",
        "eyJ",
        "-----BEGIN ",
        "{",
        "\\",
    ),
    *(
        "AKIA",
        "bearer ",
        "a.",
        "](x",
        "[a]: ",
        "\n[a]: x",
        "<img src=",
        "\u05d0",
        "ab cd ",
        "=",
        "%41",
    ),
)


RULES = (
    *(
        INVISIBLE,
        Secrets(),
        pii(),
        Canary(),
        Leak(),
        links.make(),
        links.make(allow=["example.org"]),
    ),
    *(length.make(max_words=10), words.make(banned=["refund*", "money back"], required=["x y"])),
)


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_anything_takes_time_in_proportion(unit):
    """Work is counted, not timed: ten times the text takes no hundred times the steps."""
    about = About(system=SYSTEM, canary=MARK)
    for check in RULES:
        steps = [_steps(check, (unit * (n // len(unit) + 1))[:n], about) for n in (2_000, 20_000)]
        assert steps[1] < 30 * steps[0] + 20_000, (check.name, unit, steps)


@pytest.mark.parametrize("check", RULES, ids=lambda c: c.name)
def test_a_megabyte_comes_to_its_end(check):
    about = About(system=SYSTEM, canary=MARK)
    chance = random.Random(3)
    texts = [(unit * (MEGABYTE // len(unit))) for unit in chance.sample(UNITS, 6)]
    texts.append("".join(chance.choices("".join(UNITS), k=MEGABYTE)))
    for text in texts:
        assert check.find(text, about).reason


def _steps(check, text, about):
    """Lines of Python that a check runs; what its patterns do is not among them, the test below sees that they end."""
    import sys

    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)
    try:
        check.find(text, about)
    finally:
        sys.settrace(None)
    return count


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_makes_a_check_fail_and_what_is_left_is_clean(text):
    for check in RULES:
        one = check.find(text, About(system=SYSTEM, canary=MARK))
        json.dumps([one.reason, one.evidence])
        if one.hit and one.replaced is not None and check.name != "length":
            assert not check.find(one.replaced, About(system=SYSTEM, canary=MARK)).hit or (
                check.name in ("words", "links")
            )
