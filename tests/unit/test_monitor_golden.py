"""Golden sets: production run again, quality over time with intervals for all runs, drops, correction by labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from annotators import all_of
from engine_fakes import FakeEngine, plug
from monitor_fakes import Clock, alerts_of

from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation import Metric
from llmops_jupyter.monitor.alerts import quality
from llmops_jupyter.monitor.alerts.quality import share_of
from llmops_jupyter.monitor.alerts.timelines import QualityOverTime

ROWS = [{"id": f"r{n}", "q": str(n), "expected": f"echo {n}"} for n in range(60)]


@pytest.fixture
def wrong():
    """The questions that the model answers wrongly; a test adds some."""
    return set()


@pytest.fixture
def golden(ws, wrong):
    ws.data.add("qa", ROWS)
    ws.prompts.save("ask", "{{ q }}")
    ws.prompts.alias("ask@1", "production")
    plug(ws, FakeEngine(lambda text: "?" if text in wrong else f"echo {text}"))
    return ws.monitor.golden


def add(golden, **options):
    return golden.add("qa", "ask@production", "qa", "exact", **options)


def test_answers_are_computed_anew_and_compared_with_the_first_run(golden, ws, wrong):
    add(golden, margin=0.05)
    first = golden.run("qa")
    assert (first.results[0].value, first.results[0].difference, first.dropped) == (
        1.0,
        None,
        False,
    )
    wrong.update(str(n) for n in range(20))
    second = golden.run("qa")
    assert second.run != first.run
    assert second.reference == first.run
    (exact,) = second.results
    assert exact.value == pytest.approx(2 / 3)
    assert exact.difference == pytest.approx(-1 / 3)
    assert exact.difference_high < -0.05
    assert second.dropped
    assert "dropped" in second.sentence()
    assert [r.run for r in golden.series("qa")] == [first.run, second.run]


def test_a_loss_within_the_margin_is_no_drop(golden, wrong):
    add(golden, margin=0.4)
    golden.run("qa")
    wrong.update(str(n) for n in range(20))
    assert not golden.run("qa").dropped


def test_runs_that_come_out_alike_spend_nothing_and_others_less_and_less(golden, wrong):
    add(golden)
    looks = [golden.run("qa").look for _ in range(3)]
    for n in range(3):
        wrong.add(str(n))
        looks.append(golden.run("qa").look)
    wrong.clear()
    looks.append(golden.run("qa").look)
    assert looks == [1, 1, 1, 2, 3, 4, 1]
    widths = [run.results[0].high - run.results[0].low for run in golden.series("qa")]
    assert widths[0] == widths[1] < widths[3]
    assert sum(share_of(0.05, k, 2) for k in range(1, 10_000)) * 2 < 0.05


def test_the_alias_decides_what_runs(golden, ws):
    add(golden)
    golden.run("qa")
    ws.prompts.save("ask", "well: {{ q }}")
    ws.prompts.alias("ask@2", "production")
    second = golden.run("qa")
    assert second.label.startswith("ask@2")
    assert second.dropped


def test_another_set_or_renew_begins_with_a_new_reference(golden, wrong):
    add(golden)
    golden.run("qa")
    wrong.update(str(n) for n in range(20))
    assert golden.run("qa").dropped
    renewed = golden.run("qa", renew=True)
    assert not renewed.dropped
    assert len(golden.series("qa")) == 1
    assert not golden.run("qa").dropped
    add(golden, margin=0.1)
    assert golden.series("qa") == []
    assert golden.run("qa").results[0].difference is None


def test_a_rule_runs_it_when_it_is_due_and_alerts_on_a_drop(golden, ws, wrong):
    clock = Clock()
    golden.clock = clock
    alerts = alerts_of(ws, clock)
    add(golden, every="12h")
    alerts.add(name="quality", metric="golden:qa")
    states = []
    for n in range(6):
        if n == 3:
            wrong.update(str(n) for n in range(30))
        states.append(alerts.look().entries[0].standing.state)
        clock.move(4 * 3600)
    assert len(golden.series("qa")) == 2
    assert states == ["ok"] * 3 + ["alert"] * 3
    assert "against the reference" in alerts.changes("quality")[0].reason


def test_a_rule_for_a_set_that_is_not_there_says_so(golden, ws):
    alerts = alerts_of(ws, Clock())
    with pytest.raises(UnknownNameError, match="no golden set 'gone'"):
        alerts.add(name="quality", metric="golden:gone")
    add(golden)
    alerts.add(name="quality", metric="golden:qa")
    golden.remove("qa")
    assert "no golden set 'qa'" in alerts.look().entries[0].standing.error


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"variant": "aks@production"}, UnknownNameError, "Did you mean 'ask'?"),
        ({"data": "gone"}, UnknownNameError, "gone"),
        ({"metrics": "exakt"}, OptionError, "Did you mean 'exact'?"),
        ({"metrics": []}, OptionError, "needs metrics"),
        ({"margin": -1}, OptionError, "margin is a loss"),
        ({"margin": "x"}, OptionError, "margin is a loss"),
        ({"margin": float("nan")}, OptionError, "margin is a loss"),
        ({"level": "x"}, OptionError, "level is above 0"),
        ({"modle": "x"}, OptionError, "Did you mean 'model'?"),
        ({"fresh": False}, OptionError, "no setting 'fresh'"),
        ({"temperature": object()}, OptionError, "kept as text"),
        ({"variant": "column=nope"}, DataError, "the column 'nope'"),
        ({"variant": "ask@production:modle=x"}, OptionError, "Did you mean 'model'?"),
        ({"expected": "nope"}, DataError, "the column 'nope'"),
        ({"cluster": "nope"}, DataError, "the column 'nope'"),
        ({"labels": "correct"}, OptionError, "none of the metrics is one: exact"),
        ({"level": 0}, OptionError, "level is above 0"),
        ({"every": "daily"}, DataError, "every is a time"),
        ({"name": "Über"}, OptionError, "cannot be the name"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_kept(golden, options, kind, said):
    given = {"name": "qa", "variant": "ask@production", "data": "qa", "metrics": "exact", **options}
    with pytest.raises(kind) as error:
        golden.add(**given)
    assert said in str(error.value)
    assert golden.list() == []


def test_too_few_rows_and_unknown_sets_are_refused(golden, ws):
    ws.data.add("few", ROWS[:3])
    with pytest.raises(DataError, match="3 rows; 5 are needed"):
        golden.add("few", "ask@production", "few", "exact")
    with pytest.raises(UnknownNameError, match="golden add"):
        golden.run("gone")


def test_a_set_that_was_taken_away_keeps_its_runs(golden, ws):
    add(golden)
    golden.run("qa")
    golden.remove("qa")
    assert golden.list() == []
    assert len(ws.store.rows("SELECT * FROM golden_runs")) == 1


def test_no_drop_is_found_where_there_is_none(golden):
    """Ten runs of answers that are right by chance, 60 rows: over 200 sets, a false drop in at most 5 %."""
    from llmops_jupyter.evaluation.statistics import paired_rates

    drawn = np.random.default_rng(1)
    false_alarms = 0
    for _ in range(200):
        first = (drawn.random(60) < 0.8).astype(float)
        for look in range(2, 12):
            again = (drawn.random(60) < 0.8).astype(float)
            made = paired_rates(first, again, confidence=1 - share_of(0.05, look, 1))
            if made.interval.high < 0:
                false_alarms += 1
                break
    assert false_alarms <= 17  # P(more | 5 %) < 0.01


def test_a_judge_is_corrected_by_labels_of_the_reference(golden, ws, monkeypatch):
    """The judge calls every answer good; people call every second one bad."""
    kind = Metric("kind", each=lambda _: True, digest="kind", source="judge", bounds=(0, 1))
    monkeypatch.setattr(ws.evaluation, "metric", lambda _: kind)
    golden.add("qa", "ask@1", "qa", "kind", labels="correct")
    first = golden.run("qa")
    assert "label" in first.results[0].uncorrected
    label = ws.evaluation.label(first.run, name="correct", by="ann", limit=30)
    all_of(label, lambda shown: "good" if int(shown.row["q"]) % 2 else "bad")
    (kind_now,) = golden.run("qa").results
    assert kind_now.corrected is not None, kind_now.uncorrected
    assert kind_now.corrected["value"] == pytest.approx(0.5, abs=0.2)
    assert kind_now.corrected["low"] < 0.5 < kind_now.corrected["high"]
    assert f"30 labels of run {first.run}" in kind_now.corrected["how"]
    assert kind_now.value == 1.0
    again = golden.run("qa")
    label = ws.evaluation.label(again.run, name="correct", by="ann", limit=30)
    all_of(label, lambda _: "bad")
    own = quality.results_of(
        ws.evaluation,
        golden.get("qa"),
        ws.evaluation.get(again.run),
        ws.evaluation.get(first.run),
        2,
    )
    assert own[0].corrected["how"] == "by 30 labels of this run"
    assert own[0].corrected["value"] == pytest.approx(0.0, abs=0.05)


def test_the_difference_is_of_rows_that_both_have(golden, ws, wrong):
    add(golden)
    first = golden.run("qa")
    ws.data.add(
        "qa", [*ROWS[:20], *({**row, "id": f"x{row['id']}", "q": "0"} for row in ROWS[20:])]
    )
    second = golden.run("qa")
    reference, now = ws.evaluation.get(first.run), ws.evaluation.get(second.run)
    assert quality.difference_to(reference, now, "exact", 0.95).n == 20
    ws.data.add("qa", [{**row, "id": f"y{row['id']}"} for row in ROWS])
    third = golden.run("qa")
    assert third.results[0].difference is None
    assert not third.dropped


def test_labels_that_look_mistyped_are_refused_and_new_ones_are_not(golden, ws, monkeypatch):
    kind = Metric("kind", each=lambda _: True, digest="kind", source="judge", bounds=(0, 1))
    monkeypatch.setattr(ws.evaluation, "metric", lambda _: kind)
    first = golden.add("qa", "ask@1", "qa", "kind", labels="correct")
    assert first.labels == "correct"
    run = golden.run("qa").run
    all_of(ws.evaluation.label(run, name="correct", by="ann", limit=5), lambda _: "good")
    with pytest.raises(OptionError, match="Did you mean 'correct'"):
        golden.add("qa", "ask@1", "qa", "kind", labels="corect")
    golden.add("qa", "ask@1", "qa", "kind", labels="another")


def test_a_column_that_is_added_does_not_make_it_blind(golden, ws, wrong):
    add(golden)
    golden.run("qa")
    ws.data.add("qa", [{**row, "topic": "t"} for row in ROWS])
    wrong.update(str(n) for n in range(20))
    second = golden.run("qa")
    assert second.dropped
    assert second.results[0].common == 60
    assert "rows in common" not in second.sentence()


def test_answers_of_a_column_are_compared_though_they_changed(golden, ws):
    rows = [{**row, "answer": row["expected"]} for row in ROWS]
    ws.data.add("given", rows)
    golden.add("given", "column=answer", "given", "exact")
    golden.run("given")
    ws.data.add("given", [{**row, "answer": "?"} for row in rows])
    assert golden.run("given").dropped


def test_what_cannot_be_compared_is_said_and_is_no_data(golden, ws, wrong):
    clock = Clock()
    golden.clock = clock
    alerts = alerts_of(ws, clock)
    add(golden, every="1h")
    alerts.add(name="quality", metric="golden:qa")
    assert alerts.look().entries[0].standing.state == "ok"
    ws.data.add("qa", [{**row, "id": f"y{row['id']}"} for row in ROWS])
    clock.move(3600)
    entry = alerts.look().entries[0]
    assert entry.standing.state == "no data"
    said = "cannot be compared with the reference: 0 rows in common"
    assert said in entry.remarks()
    assert said in golden.series("qa")[-1].rows()[0]["against reference"]
    clock.move(60)
    golden.run("qa", renew=True)
    assert alerts.look().entries[0].standing.state == "ok"
    ws.data.add("qa", [*({**row, "id": f"y{row['id']}"} for row in ROWS[:20]), *ROWS[20:]])
    clock.move(3600)
    assert alerts.look().entries[0].standing.state == "ok"
    assert "on 20 of 60 rows, which both have" in golden.series("qa")[-1].sentence()


def test_a_rule_takes_in_runs_that_it_did_not_begin(golden, ws, wrong):
    clock = Clock()
    golden.clock = clock
    alerts = alerts_of(ws, clock)
    add(golden, every="1d")
    alerts.add([{"name": "a", "metric": "golden:qa"}, {"name": "b", "metric": "golden:qa"}])

    def states():
        clock.move(60)
        return [e.standing.state for e in alerts.look().entries]

    assert states() == ["ok", "ok"]
    wrong.update(str(n) for n in range(30))
    clock.move(60)
    golden.run("qa")
    assert states() == ["alert", "alert"]
    assert states() == ["alert", "alert"]
    wrong.clear()
    golden.run("qa")
    assert states() == ["ok", "ok"]
    assert len(golden.series("qa")) == 3
    assert len(alerts.looks("a")) == 3


def test_a_run_that_is_interrupted_leaves_nothing_half_done(golden, ws):
    add(golden)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        golden.run("qa", tell=stop)
    assert golden.series("qa") == []
    assert golden.run("qa").results[0].value == 1.0


def test_quality_over_time_is_drawn_with_and_without_labels(golden):
    add(golden, margin=0.1)
    golden.run("qa")
    golden.run("qa")
    runs = golden.series("qa")
    quality_ = replace(runs[1].results[0], dropped=True, corrected={"value": 0.9, "how": "x"})
    for some in (runs, [runs[0], replace(runs[1], results=(quality_,))], []):
        made = QualityOverTime(some, "exact", 0.1)
        assert made._repr_png_().startswith(b"\x89PNG")
