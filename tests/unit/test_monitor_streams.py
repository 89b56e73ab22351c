"""Streams: false alarms over all looks, delays, going on in another kernel, and rows that are no independent ones."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from monitor_rows import TOPICS, bulk, question, rows, trace
from scipy.stats import binom, kstest

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation.statistics import adjusted
from llmops_jupyter.monitor.drift.statistics.martingale import (
    KindRanks,
    Martingale,
    NumberRanks,
    coin,
    densities,
    place_of,
)
from llmops_jupyter.monitor.drift.streams import Stream


def test_ranks_among_baseline_and_stream_are_uniform_and_independent_over_fresh_baselines():
    rng = np.random.default_rng(0)
    first, last = [], []
    for draw in range(600):
        ranks = NumberRanks()
        ranks.add_all(rng.poisson(3.0, 15).astype(float))  # few values, many ties
        found = [ranks.p_value(float(rng.poisson(3.0)), coin(draw, i)) for i in range(6)]
        first.append(found[0])
        last.append(found[-1])
    assert kstest(first, "uniform").pvalue > 0.01
    assert kstest(last, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.12


def test_ranks_of_categories_are_uniform_and_rare_ones_are_strange():
    rng = np.random.default_rng(1)
    found = []
    for draw in range(600):
        ranks = KindRanks()
        ranks.add_all([str(k) for k in rng.choice(3, 20, p=[0.7, 0.2, 0.1])])
        found.append(ranks.p_value(str(rng.choice(3, p=[0.7, 0.2, 0.1])), coin(draw)))
    assert kstest(found, "uniform").pvalue > 0.01
    ranks = KindRanks({"usual": 99})
    assert ranks.p_value("new", 0.5) == pytest.approx(0.005)


def test_every_bet_is_fair():
    for two_sided in (False, True):
        table = densities(two_sided)
        assert table.mean(1) == pytest.approx(1.0)
        assert table.min() > 0


def test_looking_every_day_for_thirty_days_keeps_the_level_with_small_fresh_baselines():
    rng = np.random.default_rng(2)
    level, trials, alarms = 0.1, 100, 0
    for _ in range(trials):
        ranks, capital = NumberRanks(), Martingale(two_sided=True)
        ranks.add_all(rng.gamma(2.0, 1.0, 30))
        for _ in range(30):  # days
            for value in rng.gamma(2.0, 1.0, 6):
                capital.bet(ranks.p_value(float(value), rng.random()))
        alarms += capital.p_value <= level
    assert alarms <= binom.ppf(0.99, trials, level)


@pytest.mark.parametrize("change", ["up", "down", "wider", "narrower"])
def test_a_change_after_a_long_quiet_time_is_found_soon(change):
    rng = np.random.default_rng(3)
    ranks, capital = NumberRanks(), Martingale(two_sided=True)
    ranks.add_all(rng.standard_normal(300))
    for value in rng.standard_normal(1_500):
        capital.bet(ranks.p_value(float(value), rng.random()))
    assert capital.p_value > 0.01
    shift, scale = {"up": (1, 1), "down": (-1, 1), "wider": (0, 2.5), "narrower": (0, 0.3)}[change]
    for value in shift + scale * rng.standard_normal(150):
        capital.bet(ranks.p_value(float(value), rng.random()))
    assert capital.p_value < 0.001


def test_cells_keep_the_order_of_numbers_and_do_not_depend_on_data():
    values = sorted([-1e9, -3.5, -1e-6, 0.0, 1e-6, 0.5, 0.501, 7.0, 1e12])
    cells = [place_of(value) for value in values]
    assert cells == sorted(cells)
    assert len(set(cells)) == len(cells)


def test_the_path_of_a_capital_stays_short():
    capital = Martingale(two_sided=False)
    for place in range(3_000):
        capital.bet((place * 0.618) % 1)
    assert len(capital.path) <= 400
    assert capital.path[-1][0] > 2_900
    assert math.isfinite(capital.log_capital)
    kept = json.loads(json.dumps(capital.as_dict()))
    assert Martingale.of(kept).as_dict() == capital.as_dict()


@pytest.fixture
def shop():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(300), embedder="none")
        yield ws


def test_a_stream_finds_a_new_topic_and_tells_when_it_began(shop):
    stream = shop.monitor.stream("usual")
    for day in range(5):
        stream.update(rows(40, seed=30 + day))
    assert not stream.alarm
    assert stream.summary().startswith("No change in 200 rows")
    for day in range(3):
        stream.update(rows(40, seed=20 + day, new=0.5))
    assert stream.alarm
    change = next(one for one in stream.changed if one.feature == "input novelty")
    assert 200 < change.crossed_at <= 280
    assert abs(change.since - 200) <= 25
    assert change.delay == change.crossed_at - change.since
    assert "channel" not in {one.feature for one in stream.changed}
    assert stream.chart()._repr_png_().startswith(b"\x89PNG")
    assert "input novelty" in stream._repr_mimebundle_()["text/html"]
    with pytest.raises(UnknownNameError, match="feature"):
        stream.chart("nothing")


def test_a_stream_goes_on_in_another_kernel_as_if_it_had_not_stopped(tmp_path):
    def begun(path):
        ws = lo.open(path)
        ws.monitor.baseline("usual", rows(120), embedder="none")
        return ws

    with begun(tmp_path / "one.db") as ws:
        whole = ws.monitor.stream("usual")
        for day in range(4):
            whole.update(rows(20, seed=10 + day, slower=2.0))
        expected = whole.as_dict()
    with begun(tmp_path / "two.db") as ws:
        for day in range(2):
            ws.monitor.stream("usual").update(rows(20, seed=10 + day, slower=2.0))
    with lo.open(tmp_path / "two.db") as ws:
        for day in range(2, 4):
            ws.monitor.stream("usual").update(rows(20, seed=10 + day, slower=2.0))
        found = ws.monitor.stream("usual")
        assert found.rows == 80
        assert found.as_dict() == {**expected, "notes": []}


def test_two_kernels_take_no_trace_in_twice(ws):
    for row in rows(60):
        trace(ws, row)
    ws.monitor.baseline("usual", prompt="support", embedder="none")
    first, second = ws.monitor.stream("usual"), ws.monitor.stream("usual")
    for row in rows(30, seed=1):
        trace(ws, row)
    trace(ws, rows(1, seed=2)[0], prompt="other")
    first.update()
    second.update()
    second.update()
    assert second.rows == 30
    assert second.skipped == 0


def test_a_stream_waits_for_a_trace_that_still_runs(ws):
    bulk(ws, 60)
    ws.monitor.baseline("usual", embedder="none")
    trace(ws, rows(1, seed=1)[0])
    running = ws.tracer.span("prompt", op="invoke_workflow").begin()
    trace(ws, rows(1, seed=2)[0])
    stream = ws.monitor.stream("usual").update()
    assert stream.rows == 1
    running.finish()
    assert stream.update().rows == 3


def test_more_traces_than_are_read_at_once_are_all_taken_in(ws, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.monitor.drift.streams.TOGETHER", 500)
    bulk(ws, 60)
    ws.monitor.baseline("usual", embedder="none")
    bulk(ws, 1_200)
    assert ws.monitor.stream("usual").update().rows == 1_200


def test_of_each_session_the_first_row_is_taken_in(shop):
    stream = shop.monitor.stream("usual")
    stream.update(rows(40, seed=1, session=4))
    assert stream.rows == 10
    stream.update(rows(40, seed=1, session=4))  # the same again
    assert stream.rows == 10
    assert stream.skipped == 70
    assert "70 rows were not taken in" in str(stream)


def test_a_level_holds_for_the_life_of_a_stream_and_a_reset_begins_anew(shop):
    stream = shop.monitor.stream("usual").update(rows(60, seed=1, slower=5.0))
    assert stream.alarm
    with pytest.raises(OptionError, match="cannot change"):
        shop.monitor.stream("usual", level=0.01)
    assert not shop.monitor.stream("usual", name="other", level=0.01).alarm
    stream.reset()
    assert not stream.alarm
    assert shop.monitor.stream("usual").rows == 0


def test_vectors_of_another_model_are_refused_and_nothing_is_taken_in(shop):
    stream = shop.monitor.stream("usual")
    strange = [{"input": f"a {i}", "embedding": [1.0, float(i), 2.0]} for i in range(20)]
    with pytest.raises(DataError, match="do not mix"):
        stream.update(strange)
    assert stream.rows == 0
    assert shop.monitor.stream("usual").rows == 0
    named = [{**row, "id": one["id"]} for row, one in zip(rows(20, seed=2), rows(20), strict=True)]
    assert stream.update(named).rows == 20


def test_a_baseline_of_rows_has_no_traces_to_go_on_with(shop):
    with pytest.raises(OptionError, match="is of rows"):
        shop.monitor.stream("usual").update()


def test_missing_values_are_passed_over(shop):
    stream = shop.monitor.stream("usual")
    stream.update([{**row, "latency": None} for row in rows(20, seed=3)])
    counts = {one.feature: one.rows for one in stream.features}
    assert counts["latency"] == 0
    assert counts["channel"] == 20


COMMON = ("hello", "yes", "no", "thanks", "where is my order")


def ties(count, rng):
    """Texts without ids, most of which are one of five."""
    return [
        {"text": rng.choice(COMMON) if rng.random() < 0.8 else question(rng, TOPICS["order"])}
        for _ in range(count)
    ]


def test_rows_without_ids_count_each_time_and_rows_with_ids_once(shop):
    bare = [{k: v for k, v in row.items() if k != "id"} for row in rows(30, seed=4)]
    stream = shop.monitor.stream("usual", name="bare")
    assert stream.update(bare).rows == 30
    assert stream.update(bare).rows == 60
    assert stream.skipped == 0
    named = shop.monitor.stream("usual", name="named").update(rows(30, seed=4))
    assert named.update(rows(30, seed=4)).rows == 30
    assert named.skipped == 30
    traced = [{**row, "trace_id": f"t{i}"} for i, row in enumerate(bare)]
    assert named.update(traced).update(traced).rows == 60


def test_rows_of_a_data_set_count_once_and_equal_ones_of_another_count_too(shop):
    bare = [{k: v for k, v in row.items() if k != "id"} for row in rows(30, seed=4)]
    shop.data.add("monday", bare)
    shop.data.add("tuesday", bare)
    stream = shop.monitor.stream("usual").update("monday").update("monday")
    assert stream.rows == 30
    assert stream.update("tuesday").rows == 60


def test_equal_texts_without_ids_make_no_false_alarms():
    alarms = 0
    for draw in range(8):
        rng = random.Random(draw)
        with lo.open(":memory:") as ws:
            ws.monitor.baseline("short", ties(300, rng), embedder="none")
            stream = ws.monitor.stream("short")
            for _ in range(8):
                stream.update(ties(30, rng))
            assert stream.rows == 240
            alarms += stream.alarm
    assert alarms <= binom.ppf(0.999, 8, 0.05)


def test_where_a_change_began_is_told_in_rows_though_few_rows_have_the_feature():
    rng = random.Random(6)

    def scored(first, count, mean):
        return [
            {"tone": rng.choice("ab"), **({"score": rng.gauss(mean, 1)} if i % 10 == 0 else {})}
            for i in range(first, first + count)
        ]

    with lo.open(":memory:") as ws:
        ws.monitor.baseline("sparse", scored(0, 3_000, 0), embedder="none")
        stream = ws.monitor.stream("sparse").update(scored(0, 1_000, 0))
        stream.update(scored(1_000, 300, 3))
        change = next(one for one in stream.changed if one.feature == "score")
        assert 1_030 <= change.crossed_at <= 1_150
        assert abs(change.since - 1_000) <= 40
        assert change.delay == change.crossed_at - change.since >= 20
        assert stream.chart("score").paths["score"][-1][0] > 1_200


def test_later_turns_of_sessions_that_a_part_of_a_baseline_lacks_are_not_taken_in(ws, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.monitor.drift.stage.KEPT", 100)
    bulk(ws, 400, sessions=100)
    ws.monitor.baseline("usual", prompt="support", embedder="none")
    stream = ws.monitor.stream("usual")
    bulk(ws, 150, sessions=150)  # 100 old sessions go on, and 50 begin
    stream.update()
    assert (stream.rows, stream.skipped) == (50, 100)


def test_a_session_is_old_only_where_it_had_traces_of_the_baselines_kind(ws):
    for place, row in enumerate(rows(40)):
        trace(ws, row, session=f"s{place}")
    trace(ws, rows(1, seed=1)[0], prompt="other", session="late")
    trace(ws, rows(1, seed=1)[0], session="turns")
    ws.monitor.baseline("usual", prompt="support", embedder="none")
    trace(ws, rows(1, seed=2)[0], session="late")
    trace(ws, rows(1, seed=3)[0], session="turns")
    assert ws.monitor.stream("usual").update().rows == 1


def test_a_stream_of_a_baseline_that_was_removed_says_so(shop):
    stream = shop.monitor.stream("usual").update(rows(30, seed=1))
    shop.monitor.remove("usual")
    for use in (lambda: stream.update(rows(30, seed=2)), stream.reset):
        with pytest.raises(UnknownNameError, match=r"The baseline usual@1 was removed\."):
            use()
    assert stream.rows == 30


def test_a_stream_does_not_write_into_a_baseline_that_was_made_later(shop):
    stream = shop.monitor.stream("usual").update(rows(30, seed=1))
    shop.monitor.remove("usual")
    shop.monitor.baseline("other", rows(100, seed=9), embedder="none")
    with pytest.raises(UnknownNameError, match="was removed"):
        stream.update(rows(30, seed=2))
    assert shop.monitor.stream("other").rows == 0


def test_many_rows_are_taken_in_by_batches_between_which_others_can_write(shop, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.monitor.drift.streams.TOGETHER", 50)
    whole = shop.monitor.stream("usual", name="default")
    kept = []
    save = Stream._save

    def noted(self):
        kept.append(self.rows)
        save(self)

    monkeypatch.setattr(Stream, "_save", noted)
    whole.update(rows(120, seed=1))
    assert kept == [50, 100, 120]
    assert shop.monitor.stream("usual").rows == 120
    monkeypatch.undo()
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(300), embedder="none")
        assert ws.monitor.stream("usual").update(rows(120, seed=1)).as_dict() == whole.as_dict()


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_single_precision_are_ranked_without_a_warning():
    values = [-1e300, -1e38, 0.0, 1e38, 1e300]
    cells = [place_of(value) for value in values]
    assert cells == sorted(set(cells))


def test_features_cross_at_the_row_at_which_holm_says_so_and_are_corrected_only_then(
    shop, monkeypatch
):
    calls, crossed = [], {}

    def counted(p_values):
        calls.append(1)
        return adjusted(p_values)

    stream = shop.monitor.stream("usual")
    look = Stream._look

    def watched(self):
        look(self)
        p_values = adjusted([one.martingale.p_value for one in self._features])
        for one, p_value in zip(self._features, p_values, strict=True):
            if p_value <= self.level:
                crossed.setdefault(one.name, self.rows)

    monkeypatch.setattr("llmops_jupyter.monitor.drift.streams.adjusted", counted)
    monkeypatch.setattr(Stream, "_look", watched)
    stream.update(rows(60, seed=1, slower=2.0, new=0.4))
    assert len(crossed) >= 2
    assert {name: pair[0] for name, pair in stream._crossed.items()} == crossed
    assert len(calls) <= len(crossed)
