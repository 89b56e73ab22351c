"""Checks: what they find, what they promise, from alarm to traces, data and gate, and input that is wrong."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from monitor_rows import rows, trace

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, LLMOpsError, OptionError, UnknownNameError
from llmops_jupyter.monitor.drift.comparing import comparable
from llmops_jupyter.monitor.drift.tabular import from_rows


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
        assert not alone.can_alarm
        assert any("no test can alarm: 1 session in the window" in note for note in alone.notes)
        assert alone.summary().startswith("Nothing can be said of 40 rows against usual@1")
        assert report.can_alarm


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
    alone = check(shop, rows(40, seed=4), features="latency")
    assert [test.feature for test in alone.tests] == ["latency"]
    with pytest.raises(OptionError, match="at least one"):
        check(shop, rows(40, seed=4), features=[])


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


def in_time(made, begin, step):
    return [
        {**row, "at": f"{begin}T{i // 60:02d}:{i % 60:02d}:{step:02d}"}
        for i, row in enumerate(made)
    ]


def test_a_timeline_of_sides_far_apart_is_drawn_by_the_rows_with_their_dates():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", in_time(rows(200), "2026-01-01", 0), embedder="none")
        for day, label in (("2026-03-01", "with their time"), ("2026-01-01", "time (UTC)")):
            window = in_time(rows(60, seed=1), day, 30)
            (axes,) = check(ws, window).timeline("latency").figure().axes
            assert label in axes.get_xlabel()
            lines = [line for line in axes.lines if line.get_label() in ("before", "now")]
            spans = [np.ptp(line.get_xdata().astype(float)) for line in lines]
            assert min(spans) > 0.1 * max(spans)
        window = in_time(rows(60, seed=1), "2026-03-01", 30)
        (axes,) = check(ws, window).timeline("latency").figure().axes
        labels = [text.get_text() for text in axes.get_xticklabels()]
        assert labels[0] == "01-01 00:00"
        assert labels[-1] == "03-01 00:59"


def test_kinds_beyond_ten_are_drawn_as_others_and_new_ones_are_among_the_shown(shop):
    made = rows(60, seed=6)
    given = [{**row, "channel": f"new {i}"} for i, row in enumerate(made)]
    for row in given[:20]:
        row["channel"] = "fax"
    (axes,) = check(shop, given).distribution("channel").figure().axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels[-1] == "34 others"
    assert len(labels) == 11
    assert {"web", "mail", "phone", "fax"} <= set(labels)
    others = sorted(p.get_width() for p in axes.patches if round(p.get_y()) == 0)
    assert others == pytest.approx([0.0, 100 * 34 / 60])
    legend = axes.get_legend().get_window_extent()
    assert legend.y0 >= axes.get_window_extent().y1 - 1


def test_a_picture_of_what_is_not_there_is_refused(shop):
    for draw in (shop.report.timeline, shop.report.distribution, shop.report.map):
        with pytest.raises(LLMOpsError, match="no feature"):
            draw("nothing")


def test_a_picture_names_the_side_that_lacks_a_feature_or_the_picture_that_shows_it(shop):
    report = check(shop, [{**row, "latency": None} for row in rows(40, seed=4)])
    for draw in (report.timeline, report.distribution):
        with pytest.raises(DataError, match="The window has no values of 'latency'"):
            draw("latency")
    new = check(shop, [{**row, "cost": 0.1 * i} for i, row in enumerate(rows(40, seed=4))])
    with pytest.raises(DataError, match="The baseline has no values of 'cost'"):
        new.timeline("cost")
    with pytest.raises(OptionError, match=r"report\.map\('input'\) does"):
        report.distribution("input")
    with pytest.raises(OptionError, match=r"report\.distribution\('channel'\) does"):
        report.timeline("channel")


def test_a_feature_that_disappears_is_told(shop):
    gone = [{**row, "latency": None, "channel": None} for row in rows(40, seed=4)]
    report = check(shop, gone)
    said = next(note for note in report.notes if "values are missing" in note)
    assert "latency 0% → 100%" in said
    assert "channel 0% → 100%" in said
    assert "input" not in said
    (row,) = [r for r in report.explanation.numbers if r["feature"] == "latency"]
    assert row["missing"] == "0% → 100%"
    assert row["50%"].endswith(" → –")
    shares = {r["value"]: r for r in report.explanation.kinds if r["feature"] == "channel"}
    assert (shares["web"]["now"], shares["(missing)"]["now"]) == ("–", "100.0%")
    assert "–" in str(report.explanation)
    few = [{**row, "latency": row["latency"] if i % 3 else None} for i, row in enumerate(gone)]
    assert not any("values are missing" in n for n in check(shop, rows(40, seed=4)).notes)
    assert any("latency 0% → 100%" in n for n in check(shop, few).notes)


def test_rows_that_were_asked_together_have_no_times_and_the_report_says_why(ws):
    for row in rows(60):
        trace(ws, row)
    ws.monitor.baseline("usual", prompt="support", embedder="none")
    for row in rows(30, seed=1):
        trace(ws, row, together=30)
    report = check(ws, None)
    said = next(note for note in report.notes if "values are missing" in note)
    assert "latency s 0% → 100%" in said
    assert "asked together" in said
    assert "latency s" not in {test.feature for test in report.tests}
    assert "latency s" in str(report.explanation)
    with pytest.raises(DataError, match="The window has no values of 'latency s'"):
        report.timeline("latency s")


def test_numbers_against_words_are_said_to_be_that(ws):
    made = [{"speed": float(i), "grade": i % 5} for i in range(60)]
    numbers = from_rows(made, ws.data, 100)
    words = from_rows([{**row, "grade": str(row["grade"])} for row in made], ws.data, 100)
    for before, now, said in (
        (numbers, words, "grade (numbers before, words now)"),
        (words, numbers, "grade (words before, numbers now)"),
    ):
        found, notes = comparable(before, now, None)
        assert [feature.name for feature in found] == ["speed"]
        assert any(said in note for note in notes)
        assert not any("fewer than" in note and "grade" in note for note in notes)


@pytest.mark.parametrize("size", [1e300, 1.7e308])
def test_numbers_near_the_largest_are_checked(size):
    with lo.open(":memory:") as ws:
        given = [{"huge": size * ((-1) ** i * (i + 1) / 60), "x": float(i)} for i in range(60)]
        ws.monitor.baseline("usual", given, embedder="none")
        report = ws.monitor.check("usual", given[:20])
        assert {test.feature for test in report.tests} == {"huge", "x"}
        assert {one.what.split()[1] for one in report.power} == {"x"}
        assert str(report.explanation)
        only = ws.monitor.check("usual", given[:20], features=["huge"])
        assert only.power == ()


def test_where_only_the_window_has_sessions_its_rows_count_and_that_is_warned_of():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(600), embedder="none")
        report = ws.monitor.check("usual", rows(60, seed=1, session=20))
        assert "windows of 60 rows" in str(report.false_alarms)
        assert any("a window of 60 rows finds with 80 % power" in note for note in report.notes)
        assert any("of 3 sessions, and the baseline has single rows" in n for n in report.notes)


def test_where_only_the_baseline_has_sessions_windows_of_as_many_rows_are_tried():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(600, session=5), embedder="none")
        report = ws.monitor.check("usual", rows(60, seed=1))
        assert "windows of 12 sessions (about 60 rows)" in str(report.false_alarms)
        assert any("and the window has single rows" in note for note in report.notes)


def test_a_baseline_of_less_than_two_windows_says_what_was_tried():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(200), embedder="none")
        report = ws.monitor.check("usual", rows(300, seed=1))
        said = "windows of 100 rows, since the baseline has only 200 rows"
        assert any(f"measured on {said}" in note for note in report.notes)
        assert "since the baseline has only 200 rows" in str(report.false_alarms)
        assert not any("a window of 300 rows" in note for note in report.notes)
        again = ws.monitor.check("usual", rows(300, seed=1))
        assert again.notes == report.notes


def test_a_data_set_of_another_name_than_allowed_is_refused(shop):
    with pytest.raises(OptionError, match="'Bad Name' cannot be the name of a data set"):
        shop.report.to_data("Bad Name")


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
