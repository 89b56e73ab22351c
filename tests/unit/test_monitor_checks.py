"""Checks: what they find, what they promise, from alarm to traces, data and gate, and input that is wrong."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from monitor_rows import rows, trace

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, LLMOpsError, OptionError, UnknownNameError


@pytest.fixture(scope="module")
def shop():
    """A workspace with a baseline of 400 rows, and a check of 100 rows of which 30 % are on a new topic."""
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(400), embedder="none")
        ws.report = ws.monitor.check("usual", rows(100, seed=1, new=0.3, slower=1.6))
        yield ws


def check(ws, given, **options):
    return ws.monitor.check("usual", given, **{"calibrated": False, **options})


def test_rows_like_the_baseline_do_not_alarm(shop):
    report = check(shop, rows(60, seed=5))
    assert not report.alarm
    assert report.summary().startswith("No drift found in 60 rows against usual@1")
    assert "level of 5%" in report.summary()


def test_planted_changes_alarm_and_are_named(shop):
    changed = {test.feature for test in shop.report.changed}
    assert {"input", "latency"} <= changed
    assert "channel" not in changed
    assert shop.report.alarm
    assert "latency" in shop.report.summary()


def test_false_alarms_and_power_are_measured_on_the_baseline_itself(shop):
    measured = shop.report.false_alarms
    assert measured.trials == 200
    assert measured.low <= 0.05
    assert measured.count < 200 * 0.12
    assert shop.report.consecutive.trials == 4
    assert {"topic" in one.what for one in shop.report.power} == {True, False}
    assert max(one.rate for one in shop.report.power) >= 0.8
    assert "80 % power" in str(shop.report)
    key = shop.store.rows("SELECT count(*) FROM monitor_calibrations")[0][0]
    shop.monitor.check("usual", rows(101, seed=9, new=0.3, slower=1.6))
    assert shop.store.rows("SELECT count(*) FROM monitor_calibrations")[0][0] == key


def test_the_same_rows_get_the_same_report(shop):
    again = check(shop, rows(100, seed=1, new=0.3, slower=1.6))
    assert [t.p_value for t in again.tests] == [t.p_value for t in shop.report.tests]


def test_a_window_that_is_large_for_its_baseline_is_warned_of(shop):
    assert any("4.0 times" in note for note in shop.report.notes)
    assert not any("times" in note for note in check(shop, rows(40, seed=2)).notes)


def test_the_explanation_finds_the_planted_topic(shop):
    grown = shop.report.explanation.grown("input")
    assert grown
    assert grown[0].before < 0.02
    assert grown[0].now > 0.2
    assert grown[0].low > 0
    assert {"gym", "membership", "cancel"} & set(grown[0].words)
    assert all("gym" in text or "cancel" in text for text in grown[0].examples)
    strange = [text for _, text in shop.report.explanation.strange["input"]]
    assert sum("gym" in t or "cancel" in t or "membership" in t for t in strange) >= 2
    assert any(
        word in {"gym", "membership", "cancel"}
        for word, _ in shop.report.explanation.words["input"]
    )


def test_one_call_goes_from_an_alarm_to_rows_to_data_to_a_gate(shop):
    found = shop.report.traces("input", limit=10)
    assert sum("gym" in row["input"] or "cancel" in row["input"] for row in found) >= 8
    slow = shop.report.traces("latency", limit=5)
    usual = shop.report.reference.numbers["latency"]
    assert all(row["latency"] > np.quantile(usual, 0.9) for row in slow)
    data = shop.report.to_data("strange", feature="input", limit=20)
    assert shop.data.get("strange").n_rows == data.n_rows == 20
    suite = shop.report.gate("no-drift", variant="column=output", limit=20)
    assert suite.data == "no-drift@1"
    assert suite.gates[0].metric == "refusal"
    assert shop.evaluation.suites()[0]["name"] == "no-drift"
    outcome = shop.evaluation.gate("no-drift")
    assert outcome.outcome in ("passed", "failed", "undecided")
    with pytest.raises(OptionError, match="variant"):
        shop.report.gate("another")


def test_demands_of_a_gate_may_be_given(shop):
    suite = shop.report.gate(
        "own",
        variant="column=output",
        data="no-such@1",
        gates=[{"metric": "length", "at_least": 1}],
    )
    assert [gate.metric for gate in suite.gates] == ["length"]


def test_a_report_of_traces_leads_to_traces(ws):
    for row in rows(150):
        trace(ws, row)
    ws.monitor.baseline("usual", prompt="support", embedder="none")
    ids = [trace(ws, row) for row in rows(60, seed=1, new=0.5)]
    trace(ws, rows(1, seed=2)[0], prompt="other")
    report = check(ws, None)
    assert len(report.window) == 60  # later ones of the same prompt
    assert report.alarm
    found = report.traces(limit=5)
    assert {one.trace_id for one in found} <= set(ids)
    data = report.to_data("strange", limit=7)
    assert "trace_id" in data.columns
    assert report.gate("again").variant.prompt == "support"
    assert ws.monitor.reports("usual")[0]["alarm"] is True


def test_traces_that_the_baseline_has_do_not_count(ws):
    for row in rows(60):
        trace(ws, row)
    ws.monitor.baseline("usual", embedder="none")
    with pytest.raises(DataError, match="All 60 traces of the window are in the baseline"):
        check(ws, None, since="1h")
    for row in rows(20, seed=1):
        trace(ws, row)
    report = check(ws, None, since="1h")
    assert len(report.window) == 20
    assert any("60 traces of the window" in note for note in report.notes)


def test_sessions_are_permuted_whole_and_too_few_of_them_are_said():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(300, session=5), embedder="none")
        report = check(ws, rows(100, seed=1, session=5))
        assert any("80 sessions" in note for note in report.notes)
        alone = check(ws, rows(40, seed=1, session=40, new=1.0))
        assert not alone.alarm
        assert any("no test can alarm" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "empty"),
        (rows(9), "9 rows, and at least 10"),
        ([{"speed": 1.0 + i} for i in range(40)], "nothing in common"),
        ([{"input": f"a {i}", "embedding": [1.0, 2.0, i + 1.0]} for i in range(40)], "do not mix"),
        ([{"input": "a", "embedding": [1.0, float("inf")]} for _ in range(40)], "NaN or infinity"),
    ],
)
def test_windows_that_cannot_be_checked_are_refused(shop, given, message):
    with pytest.raises(DataError, match=message):
        check(shop, given)


def test_few_rows_are_said_to_be_few(shop):
    assert any("10 rows are few" in note for note in check(shop, rows(10, seed=3)).notes)


def test_a_constant_feature_and_an_absent_one_are_said_and_not_tested(shop):
    given = [{**row, "channel": None} for row in rows(40, seed=4)]
    report = check(shop, given)
    notes = " ".join(report.notes)
    assert "fewer than 5 values: channel" in notes
    assert "all values are equal: empty answer" in notes
    assert "channel" not in {test.feature for test in report.tests}


def test_texts_that_are_all_alike_are_not_tested():
    with lo.open(":memory:") as ws:
        same = [{"input": "the same", "speed": float(i % 7)} for i in range(60)]
        ws.monitor.baseline("usual", same, embedder="none")
        report = ws.monitor.check("usual", same[:20])
        assert {test.feature for test in report.tests} == {"speed"}
        assert any("all values are equal" in note and "input" in note for note in report.notes)


def test_a_feature_that_is_new_in_the_window_is_said(shop):
    report = check(shop, [{**row, "cost": 0.1 * i} for i, row in enumerate(rows(40, seed=4))])
    assert any("only in the window" in note and "cost" in note for note in report.notes)


def test_only_wanted_features_are_tested(shop):
    report = check(shop, rows(40, seed=4), features=["latency"])
    assert [test.feature for test in report.tests] == ["latency"]
    assert report.permutations == 199
    with pytest.raises(UnknownNameError, match="Did you mean 'latency'"):
        check(shop, rows(40, seed=4), features=["latencyy"])


@pytest.mark.parametrize("level", [0, 1, -0.1, "5%", None, True])
def test_a_level_is_a_probability(shop, level):
    with pytest.raises(OptionError, match="level"):
        check(shop, rows(40), level=level)


def test_a_baseline_of_rows_is_not_compared_with_all_traces_by_mistake(shop):
    with pytest.raises(OptionError, match="is of rows"):
        shop.monitor.check("usual")
    with pytest.raises(UnknownNameError, match="Did you mean 'usual'"):
        shop.monitor.check("usul", rows(40))


def test_a_report_shows_escaped_text_first_and_pictures_on_demand(shop):
    hostile = [{**row, "channel": "<script>alert(1)</script>"} for row in rows(40, seed=6)]
    report = check(shop, hostile)
    page = report._repr_mimebundle_()["text/html"]
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.startswith("<p><strong>Drift in 40 rows")
    assert report.explanation._repr_mimebundle_()["text/html"].count("<script>") == 0
    assert plt.get_fignums() == []


@pytest.mark.parametrize("kind", ["timeline", "distribution", "categories", "map"])
def test_pictures_are_drawn(shop, kind):
    report = shop.report
    made = {
        "timeline": lambda: report.timeline("latency"),
        "distribution": lambda: report.distribution("latency"),
        "categories": lambda: report.distribution("channel"),
        "map": report.map,
    }[kind]()
    assert made._repr_png_().startswith(b"\x89PNG")
    assert str(made) == ""


def test_a_picture_of_what_is_not_there_is_refused(shop):
    for draw in (shop.report.timeline, shop.report.distribution, shop.report.map):
        with pytest.raises(LLMOpsError, match="no feature"):
            draw("nothing")


def test_false_alarms_over_fresh_baselines_keep_the_level():
    """The whole check, each time with a new baseline and a new window; the level holds over both."""
    from scipy.stats import binom

    alarms, trials = 0, 40
    with lo.open(":memory:") as ws:
        for seed in range(trials):
            ws.monitor.baseline("usual", rows(60, seed=1_000 + seed), embedder="none")
            window = rows(25, seed=5_000 + seed)
            alarms += check(ws, window, level=0.1).alarm
    assert alarms <= binom.ppf(0.99, trials, 0.1)
