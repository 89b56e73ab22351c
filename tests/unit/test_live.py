"""What comes of a split: units count once, looks are free, and a split that is off says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from engine_fakes import FakeEngine, plug
from scipy.stats import binom

from llmops_jupyter.errors import UnknownNameError
from llmops_jupyter.evaluation.live import LEAST_SKEWED, difference_interval


@pytest.fixture
def split(ws):
    plug(ws, FakeEngine(cost=0.001))
    for word in ("one", "two"):
        ws.prompts.save("support", f"{word}: {{{{ q }}}}")
    ws.prompts.alias("support@1", "production")
    return ws.prompts.split("support", {1: 50, 2: 50}, salt="test")


def traffic(ws, split, units, *, calls=1, good=lambda version, n: True):
    """Calls of units, each scored by a person."""
    for n in range(units):
        version = split.arm_of(f"u{n}")
        for _ in range(calls):
            done = ws.prompts.run("support@production", {"q": "x"}, unit=f"u{n}")
            ws.traces.score(done.trace_id, "thumb", "up" if good(version, n) else "down")


def test_a_clear_difference_is_found(ws, split):
    traffic(ws, split, 160, good=lambda version, n: version == 2 or n % 3 == 0)
    made = ws.evaluation.split("support", ["thumb"])
    (difference,) = made.differences
    assert difference.verdict == "better"
    assert "version 2 is better" in str(made)
    assert made.rows()[0]["difference"].endswith("points")
    assert not made.is_off


def test_calls_of_one_unit_count_once(ws, split):
    traffic(ws, split, 60, calls=3, good=lambda version, n: version == 2 or n % 2 == 0)
    made = ws.evaluation.split("support@production")
    assert sum(t.units for t in made.traffic) == 60
    assert sum(t.calls for t in made.traffic) == 180
    by_name = {d.score: d for d in made.differences}
    assert by_name["thumb"].estimate.n == 60
    assert set(by_name) == {"thumb", "errors"}
    # Figures may be skewed: a mean of few units of them is not about normal.
    assert any(note.startswith("latency") and "100 of each" in note for note in made.notes())


def test_little_traffic_says_how_much_is_needed(ws, split):
    traffic(ws, split, 12)
    made = ws.evaluation.split("support")
    assert made.differences == ()
    assert any("20 of each are needed" in note for note in made.notes())


def test_a_split_whose_shares_are_off_decides_nothing(ws, split):
    for n in range(400):
        if split.arm_of(f"u{n}") == 1 or n % 4 == 0:
            ws.prompts.run("support@production", {"q": "x"}, unit=f"u{n}")
    made = ws.evaluation.split("support")
    assert made.is_off
    assert "did not get their shares" in str(made)
    assert {row["verdict"] for row in made.rows()} == {"the split is off"}


def test_failed_calls_are_errors_of_their_version(ws, split):
    for n in range(80):
        unit = f"u{n}"
        word = "bad" if split.arm_of(unit) == 2 else "good"
        try:
            ws.prompts.run("support@production", {"q": word}, unit=unit)
        except Exception:
            assert word == "bad"
    made = ws.evaluation.split("support", ["errors"])
    assert made.differences[0].verdict == "worse"


def test_figures_that_are_all_alike_are_a_tie(ws, split):
    traffic(ws, split, 240, good=lambda version, n: True)
    made = ws.evaluation.split("support", ["cost", "output tokens"])
    json.dumps(made.as_dict(), allow_nan=False)
    assert {d.estimate.value for d in made.differences} == {0.0}
    assert {d.verdict for d in made.differences} == {"undecided"}
    assert {d.more_units for d in made.differences} == {None}


def test_equal_scores_but_for_rounding_are_a_tie():
    a, b = [0.1 + 0.2, 0.3] * 60, [0.3, 0.1 + 0.2] * 60
    b[0] = 0.3 + 1e-16
    made = difference_interval(a, b, confidence=0.95)
    assert (made.value, made.se) == (0, 0)


def test_skewed_figures_that_do_not_differ_are_seldom_told_apart():
    """A tenth of the traffic, looked at 56 times: from 100 units of each on."""
    rng = np.random.default_rng(3)
    experiments, false = 300, 0
    for _ in range(experiments):
        arm, x = rng.random(2_000) < 0.1, rng.lognormal(0, 1, 2_000)
        for n in range(200, 2_001, 20):
            a, b = x[:n][~arm[:n]].tolist(), x[:n][arm[:n]].tolist()
            if len(b) < LEAST_SKEWED:
                continue
            found = difference_interval(a, b, confidence=0.95, shares=(0.9, 0.1)).interval
            if not found.low <= 0 <= found.high:
                false += 1
                break
    assert false / experiments <= 0.05


def test_only_calls_of_this_split_count(ws, split):
    traffic(ws, split, 10)
    ws.prompts.run("support@2", {"q": "x"})
    other = ws.prompts.split("support", {1: 80, 2: 20})
    assert other.id != split.id
    made = ws.evaluation.split("support")
    assert sum(t.calls for t in made.traffic) == 0
    assert any(note.startswith("10 calls of support@production") for note in made.notes())


def test_a_prompt_that_was_never_split(ws, split):
    with pytest.raises(UnknownNameError, match="is not split"):
        ws.evaluation.split("support@beta")


def test_it_shows_itself_escaped(ws, split):
    done = ws.prompts.run("support@production", {"q": "x"}, unit="u")
    ws.traces.score(done.trace_id, "<b>x</b>", 1)
    shown = ws.evaluation.split("support")._repr_mimebundle_()["text/html"]
    assert "<b>x</b>" not in shown


def test_thirty_looks_at_two_equal_versions_find_no_difference():
    rng = np.random.default_rng(11)
    experiments, false = 2_000, 0
    looks = np.linspace(40, 1_200, 30).astype(int)
    for _ in range(experiments):
        a = (rng.random(600) < 0.3).astype(float)
        b = (rng.random(600) < 0.3).astype(float)
        for n in looks // 2:
            found = difference_interval(a[:n].tolist(), b[:n].tolist(), confidence=0.95).interval
            if not found.low <= 0 <= found.high:
                false += 1
                break
    assert binom.sf(false - 1, experiments, 0.05) > 0.01


def test_a_difference_that_is_there_is_found_in_most_cases():
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(200):
        a = (rng.random(1_000) < 0.3).astype(float).tolist()
        b = (rng.random(1_000) < 0.4).astype(float).tolist()
        found += difference_interval(a, b, confidence=0.95).interval.low > 0
    assert found > 160
