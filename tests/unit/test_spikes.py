"""Spikes: false alarms within what was promised, shifts seen as soon as was said, single slow calls let be."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from call_rows import add_calls
from scipy import stats

from llmops_jupyter.errors import DataError, MissingDependencyError, OptionError, UnknownNameError
from llmops_jupyter.monitor.cost.changes import LEAST_BASELINE, calibrated

pytest.importorskip("river", reason="needs river (extra monitor)")


def heavy(rng, count):
    """Logarithms of latencies of which one in fifty is many times as long."""
    found = 0.25 * rng.standard_normal(count)
    slow = rng.random(count) < 0.02
    found[slow] += 1 + rng.pareto(1.5, slow.sum())
    return found


@pytest.fixture(scope="module")
def detectors():
    """Detectors on thirty baselines, each with the random numbers to go on with."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        found.append((calibrated(heavy(rng, 300), 0.2, 1.0, seed=seed), rng))
    return found


def test_false_alarms_on_fresh_streams_keep_to_what_was_promised(detectors):
    calls = 1000
    alarms = sum(len(found.alarms(heavy(rng, calls))) for found, rng in detectors)
    # More than this many would come by chance in one of ten thousand, were the promise kept.
    assert alarms <= stats.poisson.ppf(0.9999, calls * len(detectors) / 1000)
    assert all(found.bound <= found.promised for found, _ in detectors)


def test_a_shift_is_seen_about_as_soon_as_was_said(detectors):
    seen, said = [], []
    for found, rng in detectors:
        alarms = found.alarms(heavy(rng, 1000) + np.log(1.2))
        seen.append(alarms[0] + 1 if alarms else 1000)
        said.append(found.delay.median)
    assert 0.5 <= np.median(seen) / np.median(said) <= 2


def test_the_alarms_are_those_of_rivers_own_detector(detectors):
    from river.drift import PageHinkley

    found, rng = detectors[0]
    stream = heavy(rng, 400) + 0.5
    theirs = PageHinkley(
        min_instances=len(found.baseline) + 1,
        delta=found.allowance,
        threshold=found.threshold,
        alpha=1.0,
        mode="up",
    )
    for _ in found.baseline:
        theirs.update(float(found.baseline.mean()))
    first = None
    for place, value in enumerate(found.scale.of(stream)):
        theirs.update(float(value))
        if theirs.drift_detected:
            first = place
            break
    assert found.alarms(stream)[0] == first


def test_a_baseline_that_ends_high_does_not_alarm_by_itself():
    values = 0.1 * np.random.default_rng(1).standard_normal(400)
    values[-40:] += 0.5
    found = calibrated(values, 0.2, 1.0)
    assert found.alarms(np.full(200, np.median(values))) == []


def test_a_lower_rate_takes_a_higher_threshold_and_longer():
    values = heavy(np.random.default_rng(1), 400)
    strict, loose = calibrated(values, 0.2, 0.5), calibrated(values, 0.2, 20.0)
    assert strict.threshold > loose.threshold
    assert strict.delay.median > loose.delay.median


def test_the_onset_lies_where_the_change_began(detectors):
    found, rng = detectors[3]
    stream = heavy(rng, 600)
    stream[200:] += 0.6
    alarm = found.alarms(stream)[0]
    assert abs(found.onset(stream, 0, alarm) - 200) <= 10


def test_a_baseline_that_never_varies_still_sees_a_shift():
    found = calibrated(np.full(200, 3.0), 0.2, 1.0)
    assert found.alarms(np.full(500, 3.0)) == []
    assert found.alarms(np.full(50, 3.0 + np.log(1.3)))


@pytest.mark.parametrize(
    "values", [np.zeros(LEAST_BASELINE - 1), np.r_[np.nan, np.zeros(200)], [np.inf] * 200]
)
def test_a_baseline_that_says_nothing_is_refused(values):
    with pytest.raises(DataError):
        calibrated(values, 0.2, 1.0)


# Reports.


def calls(rng, count, *, slower=(), longer=(), outliers=0.02):
    """Calls of a prompt; `slower` and `longer` are (first, last, factor)."""
    tokens = np.exp(rng.normal(4, 0.3, count))
    for first, last, factor in longer:
        tokens[first:last] *= factor
    seconds = tokens * 0.01 * np.exp(rng.normal(0, 0.15, count))
    for first, last, factor in slower:
        seconds[first:last] *= factor
    seconds[rng.random(count) < outliers] *= 15
    return [
        {
            "prompt_name": "support",
            "prompt_version": 2,
            "input_tokens": 100,
            "output_tokens": int(t),
            "cached_tokens": 50,
            "seconds": float(s),
        }
        for t, s in zip(tokens, seconds, strict=True)
    ]


def test_a_slower_machine_is_a_spike_of_latency_with_its_beginning_its_end_and_its_traces(ws):
    ids = add_calls(ws, calls(np.random.default_rng(2), 800, slower=[(500, 600, 1.4)]))
    report = ws.monitor.spikes("support@2")
    (spike,) = [s for s in report.spikes if s.calls > 20]
    assert (spike.metric, spike.prompt, spike.ended) == ("latency", "support@2", True)
    assert 1.2 < spike.ratio < 1.7
    assert abs(spike.first - 500) <= 10
    assert spike.delay < 40
    assert set(spike.trace_ids) <= set(ids[480:660])
    assert report.ok
    assert "latency × 1." in str(report)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_sentence_tells_the_time_by_the_clock_of_this_place_and_values_by_that_of_the_world(
    ws, monkeypatch, zone
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
        made = calls(np.random.default_rng(2), 700, slower=[(500, 700, 1.6)])
        add_calls(ws, made, now_ns=int(now.timestamp() * 1e9))
        report = ws.monitor.spikes()
        spike = next(s for s in report.spikes if s.calls > 20)
        began = datetime.fromisoformat(spike.began_at)
        assert began.utcoffset() == timedelta(0)
        assert f"from {began.astimezone():%Y-%m-%d %H:%M}, seen" in spike.sentence()
        assert datetime.fromisoformat(report.as_dict()["spikes"][0]["began_at"]) in [
            datetime.fromisoformat(s.began_at) for s in report.spikes
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_longer_answers_are_a_spike_of_tokens_and_not_of_latency(ws):
    add_calls(ws, calls(np.random.default_rng(4), 800, longer=[(600, 800, 1.5)]))
    report = ws.monitor.spikes()
    going_on = [s for s in report.spikes if not s.ended]
    assert [s.metric for s in going_on] == ["tokens"]
    assert not report.ok
    assert abs(going_on[0].first - 600) <= 15


def test_the_waiting_of_rows_that_were_asked_together_is_no_latency(ws):
    made = calls(np.random.default_rng(2), 800, slower=[(500, 800, 3.0)])
    batch = json.dumps({"llmops.map.row_id": "a", "llmops.map.rows": 400})
    add_calls(ws, [*made[:400], *({**call, "attributes": batch} for call in made[400:])])
    report = ws.monitor.spikes()
    assert sorted(one.metric for one in report.series) == ["latency", "tokens", "tokens"]
    assert [s.metric for s in report.spikes if s.calls > 20] == []


def test_slow_calls_one_by_one_are_no_spike(ws):
    add_calls(ws, calls(np.random.default_rng(7), 800, outliers=0.05))
    report = ws.monitor.spikes()
    assert report.spikes == []
    assert "No spike." in str(report)
    assert {one.metric for one in report.series} == {"latency", "tokens"}


def test_an_alias_is_the_version_that_it_points_at(ws):
    ws.prompts.save("support", "one")
    ws.prompts.save("support", "two")
    ws.prompts.alias("support@2", "production")
    add_calls(ws, calls(np.random.default_rng(9), 400))
    assert {s.prompt for s in ws.monitor.spikes("support@production").series} == {"support@2"}
    with pytest.raises(UnknownNameError, match="Did you mean 'production'"):
        ws.monitor.spikes("support@prodction")


def test_costs_of_endpoints_are_watched_too(ws):
    rng = np.random.default_rng(8)
    made = calls(rng, 400)
    for number, call in enumerate(made):
        call["cost"] = 0.001 * float(rng.lognormal(0, 0.1)) * (3 if number >= 300 else 1)
    add_calls(ws, made)
    assert "cost" in [s.metric for s in ws.monitor.spikes().spikes]


def test_each_version_has_its_own_normal(ws):
    made = calls(np.random.default_rng(9), 400, outliers=0)
    slow = [{**c, "prompt_version": 3, "seconds": 10 * c["seconds"]} for c in made]
    add_calls(ws, made)
    add_calls(ws, slow)
    report = ws.monitor.spikes("support")
    assert [s for s in report.spikes if s.ratio > 3] == []
    assert {one.prompt for one in report.series} == {"support@2", "support@3"}


def test_a_report_can_be_shown_and_kept(ws):
    add_calls(ws, calls(np.random.default_rng(2), 700, slower=[(500, 700, 1.6)]))
    report = ws.monitor.spikes(per_thousand=5)
    bundle = report._repr_mimebundle_()
    assert "data:image/png;base64," in bundle["text/html"]
    assert "false alarms per 1,000" in bundle["text/plain"]
    kept = json.loads(json.dumps(report.as_dict()))
    assert kept["spikes"][0]["trace_ids"]
    assert report.trace_ids
    assert len(report.plot.figure().axes) == 2


def test_too_few_calls_are_told_with_how_many_are_needed(ws):
    add_calls(ws, calls(np.random.default_rng(2), 50))
    report = ws.monitor.spikes()
    assert report.series == []
    assert f"50 calls; {2 * LEAST_BASELINE} are needed" in str(report)
    assert "No calls of kept prompts" in str(ws.monitor.spikes("other"))
    add_calls(ws, [{"input_tokens": 1}] * 3)
    assert "3 calls of prompts without a name" in str(ws.monitor.spikes())


@pytest.mark.parametrize(
    "options",
    [
        {"per_thousand": 0},
        {"per_thousand": "often"},
        {"baseline": 10},
        {"baseline": 1.5},
        {"colour": "red"},
    ],
)
def test_what_cannot_be_asked_is_told(ws, options):
    with pytest.raises(OptionError):
        ws.monitor.spikes(**options)


def test_without_river_the_line_that_installs_it_is_told(ws, monkeypatch):
    add_calls(ws, calls(np.random.default_rng(2), 400))
    monkeypatch.setitem(__import__("sys").modules, "river.drift", None)
    with pytest.raises(MissingDependencyError, match=r"llmops-jupyter\[monitor\]"):
        ws.monitor.spikes()
