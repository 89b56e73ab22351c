"""Streams: false alarms over all looks, delays, going on in another kernel, and rows that are no independent ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from monitor_rows import bulk, rows, trace
from scipy.stats import binom, kstest

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.monitor.drift.statistics.martingale import (
    KindRanks,
    Martingale,
    NumberRanks,
    coin,
    densities,
    place_of,
)


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
        stream.update(rows(40, seed=10 + day))
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
