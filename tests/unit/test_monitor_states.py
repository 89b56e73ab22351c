"""How looks move a rule: looks in a row, hysteresis, telling, silences, a clock that goes back."""

from __future__ import annotations

import random

import pytest

from llmops_jupyter.monitor.alerts.readings import Reading
from llmops_jupyter.monitor.alerts.rules import read_rules
from llmops_jupyter.monitor.alerts.states import S, Standing, after, begin, epoch_of, telling
from llmops_jupyter.monitor.alerts.states import told as was_told

NOW = 1_800_000_000 * S


def rule(**changes):
    return read_rules({"name": "r", "metric": "error_rate", "warn": 0.05, "alert": 0.1, **changes})[
        0
    ]


def reading(one, value):
    if value is None:
        return Reading(None, enough=False)
    past = {s: value > limit for s, limit in one.thresholds().items()}
    return Reading(value, 100, past=past)


def walk(one, values, step_s=60):
    """The states after looks that found these values."""
    standing, states = begin(one, NOW), []
    for n, value in enumerate(values):
        standing = after(one, standing, reading(one, value), NOW + n * step_s * S)
        states.append(standing.state)
    return states


def test_states_follow_thresholds():
    assert walk(rule(), [0.01, 0.06, 0.2, 0.06, 0.0, None]) == [
        *("ok", "warning", "alert", "warning", "ok", "no data"),
    ]


def test_a_value_that_wavers_around_a_threshold_does_not_flap():
    assert walk(rule(), [0.11, 0.095, 0.11, 0.095, 0.089]) == ["alert"] * 4 + ["warning"]
    below = rule(metric="tokens_per_s", warn=None, alert=10)
    standing = begin(below, NOW)
    states = []
    for value in (9.0, 10.5, 9.9, 11.1):
        found = Reading(value, 100, past={"alert": value < 10})
        standing = after(below, standing, found, NOW)
        states.append(standing.state)
    assert states == ["alert", "alert", "alert", "ok"]


def test_looks_in_a_row_must_agree():
    one = rule(**{"for": 3})
    assert walk(one, [0.2, 0.2, 0.0, 0.2, 0.2, 0.2]) == ["no data", "no data", "ok"] + [
        "ok"
    ] * 2 + ["alert"]
    assert walk(one, [0.2, 0.2, 0.2, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0])[2:] == ["alert"] * 6 + ["ok"]


def test_an_alarm_that_has_no_data_any_more_does_not_stay_an_alarm():
    assert walk(rule(), [0.2, None, 0.2]) == ["alert", "no data", "alert"]


def told(one, values, step_s, *, silenced=lambda n: False, acknowledged=lambda n: False):
    """What is told at each look."""
    standing, said = begin(one, NOW), []
    for n, value in enumerate(values):
        now = NOW + n * step_s * S
        before, standing = standing, after(one, standing, reading(one, value), now)
        kind = telling(one, before, standing, now, acknowledged=acknowledged(n))
        if kind and not silenced(n):
            standing = was_told(standing, kind, now)
            said.append(kind)
        else:
            said.append("")
    return said


def test_an_alarm_is_told_once_and_again_only_if_asked_for():
    assert told(rule(), [0.0, 0.2, 0.2, 0.2, 0.0], 3600) == ["", "raised", "", "", "over"]
    again = rule(renotify="2h")
    assert told(again, [0.2] * 5, 3600) == ["raised", "", "again", "", "again"]
    assert told(again, [0.2] * 5, 3600, acknowledged=lambda n: n >= 1) == ["raised", "", "", "", ""]


def test_traffic_that_stops_is_no_end_of_an_alarm():
    assert told(rule(), [0.2, None, None, 0.0, None, 0.0], 60) == [
        *("raised", "no data", "", "over", "", ""),
    ]
    assert told(rule(), [0.2, None, 0.2, 0.0], 60) == ["raised", "no data", "raised", "over"]
    assert told(rule(), [None, 0.0, None, 0.0], 60) == [""] * 4
    # The end of one that nobody was told of is not told, later either.
    quiet = {"silenced": lambda n: n < 2}
    assert told(rule(), [0.2, None, 0.0, None, 0.0], 60, **quiet) == [""] * 5
    # What became good while it was silenced is not told to be over once it is good again.
    assert told(rule(), [0.2, 0.0, None, 0.0], 60, silenced=lambda n: n == 1) == [
        *("raised", "", "", ""),
    ]


def test_a_silenced_alarm_is_told_when_the_silence_ends_and_its_end_only_if_it_was():
    values = [0.2] * 4
    assert told(rule(), values, 3600, silenced=lambda n: n < 2) == ["", "", "raised", ""]
    assert told(rule(), [0.2, 0.0], 3600, silenced=lambda n: n < 1) == ["", ""]


def test_a_clock_that_goes_back_neither_repeats_alarms_nor_keeps_them_quiet():
    one = rule(renotify="2h")
    standing = begin(one, NOW)
    standing = after(one, standing, reading(one, 0.2), NOW)
    standing = Standing(**{**vars(standing), "told_ns": NOW})
    earlier = NOW - 86_400 * S
    kinds = []
    for n in range(4):
        now = earlier + n * 3600 * S
        before, standing = standing, after(one, standing, reading(one, 0.2), now)
        kind = telling(one, before, standing, now, acknowledged=False)
        if kind:
            standing = Standing(**{**vars(standing), "told_ns": now})
        kinds.append(kind)
    assert kinds == ["raised", "", "again", ""]
    assert standing.since_ns <= earlier
    assert epoch_of(one, begin(one, NOW), earlier) == earlier


def test_windows_of_evidence_follow_each_other():
    one = rule(sure=True, window="1h")
    standing = begin(one, NOW)
    first = standing.epoch_ns
    assert NOW - 3600 * S < first < NOW
    assert epoch_of(one, standing, NOW) == first
    assert epoch_of(one, standing, first + 3 * 3600 * S + 5) == first + 3 * 3600 * S
    standing = after(one, standing, reading(one, 0.2), NOW)
    standing = after(one, standing, reading(one, 0.0), NOW + 60 * S)
    assert standing.epoch_ns == NOW + 60 * S  # evidence is used once


@pytest.mark.parametrize("seed", range(20))
def test_a_standing_never_leaves_its_bounds_whatever_comes(seed):
    drawn = random.Random(seed)
    one = rule(**{"for": drawn.randint(1, 3)})
    standing, now = begin(one, NOW), NOW
    for _ in range(200):
        now += drawn.randint(-7200, 7200) * S
        value = drawn.choice([None, 0.0, 0.049, 0.051, 0.095, 0.11])
        standing = after(one, standing, reading(one, value), now)
        assert standing.since_ns <= now
        assert standing.epoch_ns <= now
        assert 0 <= standing.count < max(2, one.consecutive)
        assert Standing.from_text(standing.text()) == standing
