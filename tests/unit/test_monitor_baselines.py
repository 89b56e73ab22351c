"""Baselines: what they keep of traces and rows, versions, aliases, and input that is wrong."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from monitor_rows import bulk, rows, trace

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.monitor.drift.collecting import Keeper, first_sessions, from_traces, hash_of
from llmops_jupyter.monitor.drift.features import Row
from llmops_jupyter.monitor.drift.sample import from_bytes, to_bytes


@pytest.fixture
def memory():
    with lo.open(":memory:") as workspace:
        yield workspace


def baseline(ws, given, name="usual", **options):
    return ws.monitor.baseline(name, given, **{"embedder": "none", **options})


def test_traces_become_features_and_what_was_not_recorded_is_missing(ws):
    for place, row in enumerate(rows(40)):
        trace(ws, row, scores={"helpful": 0.5 + place / 100} if place % 2 else None)
    sample = baseline(ws, None, prompt="support").sample
    assert len(sample) == 40
    assert (
        sample.texts["input"][0] == rows(40)[0]["input"]
    )  # the variables, without the template's words
    assert sample.numbers["latency s"] == pytest.approx([r["latency"] for r in rows(40)], rel=1e-6)
    assert sample.numbers["time to first token s"] == pytest.approx(
        sample.numbers["latency s"] / 4, rel=1e-3
    )
    assert np.isnan(sample.numbers["score helpful"]).sum() == 20
    assert "cost" not in sample.numbers
    assert set(sample.categories["finish reason"]) == {"stop"}
    assert {"refusal", "empty answer", "status", "model"} <= set(sample.categories)
    assert {"yes", "no"} == set(sample.categories["refusal"])


def test_rows_that_were_asked_together_have_no_times(ws):
    for row in rows(40):
        trace(ws, row, together=40)
    numbers = baseline(ws, None, prompt="support").sample.numbers
    assert "output tokens" in numbers
    assert not {"latency s", "time to first token s", "tokens per s"} & set(numbers)


def test_only_traces_that_fit_the_filters_count_and_running_ones_do_not(ws):
    for row in rows(35):
        trace(ws, row)
    for row in rows(5, seed=1):
        trace(ws, row, prompt="other")
    running = ws.tracer.span("prompt", prompt_name="support", prompt_version=1).begin()
    assert baseline(ws, None, prompt="support").n_rows == 35
    running.finish()
    assert baseline(ws, None, prompt="support").n_rows == 36
    assert baseline(ws, None, limit=33).n_rows == 33


def test_a_baseline_reads_back_as_it_was_kept(ws):
    kept = baseline(ws, rows(60, session=3))
    sample = kept.sample
    again = from_bytes(to_bytes(sample))
    assert again.digest == sample.digest
    assert again.sessions == sample.sessions
    assert again.numbers["latency"].tolist() == sample.numbers["latency"].tolist()
    assert kept.n_sessions == 20
    with pytest.raises(DataError, match="damaged"):
        from_bytes(b"rubbish")


def test_equal_rows_are_one_version_and_others_the_next(memory):
    first = baseline(memory, rows(40))
    assert baseline(memory, rows(40)).version == first.version == 1
    assert baseline(memory, rows(40, seed=2)).version == 2
    assert memory.monitor.get("usual").version == 2
    memory.monitor.alias("usual@1", "production")
    assert memory.monitor.get("usual@production").version == 1
    assert [one.version for one in memory.monitor.history("usual")] == [2, 1]
    memory.monitor.remove("usual@1")
    with pytest.raises(UnknownNameError, match="alias"):
        memory.monitor.get("usual@production")


def test_a_baseline_outlives_its_traces(ws):
    for row in rows(40):
        trace(ws, row)
    baseline(ws, None)
    ws.traces.prune(max_bytes=0)
    report = ws.monitor.check("usual", rows(40, seed=3), calibrated=False)
    assert any(test.feature == "input" for test in report.tests)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "empty"),
        (rows(10), "10 rows, and at least 30"),
        ([{"id": i, "other": None} for i in range(40)], "nothing to watch"),
        ([1, 2], "mapping"),
        ("absent", "no data set"),
        ([{"input": "a", "embedding": [1.0, float("nan")]}] * 40, "NaN"),
        ([{"input": "a", "embedding": [0.0, 0.0]}] * 40, "all zeros"),
        ([{"embedding": [1.0] * (1 + i % 2)} for i in range(40)], "one length"),
        ([{"embedding": "far"} for _ in range(40)], "list of numbers|one length"),
    ],
)
def test_rows_that_make_no_baseline_are_refused_and_nothing_is_kept(memory, given, message):
    with pytest.raises((DataError, UnknownNameError), match=message):
        baseline(memory, given)
    assert memory.monitor.baselines() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Bad Name"}, "cannot be the name"),
        ({"limit": 0}, "whole number"),
        ({"propmt": "x"}, "cannot be filtered"),
        ({"since": "yesterday"}, "no time"),
    ],
)
def test_options_that_cannot_be_used_are_named(memory, options, message):
    with pytest.raises(OptionError, match=message):
        memory.monitor.baseline(options.pop("name", "usual"), **options)


def test_filters_do_not_go_with_rows(memory):
    with pytest.raises(OptionError, match="prompt chooses traces"):
        baseline(memory, rows(40), prompt="support")


def test_rows_that_are_there_twice_count_once(memory):
    twice = [{**row, "trace_id": f"t{i // 2}"} for i, row in enumerate(rows(80))]
    kept = baseline(memory, twice)
    assert kept.n_rows == 40
    assert "40 rows that were there twice" in str(kept)


def test_words_that_are_no_categories_are_not_watched_and_that_is_said(memory):
    given = [{**row, "comment": f"comment {i}"} for i, row in enumerate(rows(80))]
    kept = baseline(memory, given)
    assert "comment" not in kept.features["categories"]
    assert "comment" in str(kept)


def test_a_data_frame_and_a_data_set_are_read_like_rows(memory):
    pandas = pytest.importorskip("pandas")
    memory.data.add("tickets", rows(40))
    first = baseline(memory, "tickets")
    frame = pandas.DataFrame(rows(40))
    frame.loc[0, "latency"] = float("nan")
    second = baseline(memory, frame, name="frame")
    assert first.features == second.features
    assert np.isnan(second.sample.numbers["latency"][0])


def test_a_clock_that_goes_back_is_said(ws):
    bulk(ws, 40)
    bulk(ws, 40, first_ns=1_600_000_000_000_000_000)
    assert "the clock went back" in str(baseline(ws, None))


def test_texts_from_traces_are_redacted_by_the_rule_of_today(ws):
    for place, row in enumerate(rows(30)):
        trace(ws, {**row, "input": f"write to person{place}@example.com"})
    ws.redact("pii")
    assert not any("@example" in text for text in baseline(ws, None).sample.texts["input"])


def test_whole_sessions_are_kept_by_chance_and_the_same_ones_each_time():
    keeper = Keeper(100)
    for place in range(1_000):
        session = f"s{place // 4}"
        if keeper.wants(session, str(place)):
            keeper.add(Row(str(place), session))
    kept = keeper.rows()
    assert 90 <= len(kept) <= 100
    sessions = {row.session for row in kept}
    assert len(kept) == 4 * len(sessions)  # none is torn
    assert max(map(hash_of, sessions)) < min(
        hash_of(f"s{i}") for i in range(250) if f"s{i}" not in sessions
    )
    assert [int(row.id) for row in kept] == sorted(int(row.id) for row in kept)


def test_a_session_longer_than_all_that_is_kept_does_not_fill_the_memory():
    keeper = Keeper(50)
    for place in range(500):
        if keeper.wants("one", str(place)):
            keeper.add(Row(str(place), "one"))
    assert len(keeper.rows()) == 50


def test_a_part_of_a_sample_has_whole_sessions(memory):
    sample = baseline(memory, rows(120, session=4)).sample
    part = sample.only(first_sessions(sample, 50))
    assert 40 <= len(part) <= 50
    assert len(part) == 4 * part.n_sessions
    assert len(part.vectors["input"].rows) == len(part)


def peak_of(ws):
    tracemalloc.start()
    try:
        sample, _ = from_traces(ws.traces, {}, 500)
        return sample, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_traces(ws):
    bulk(ws, 4_000)
    few, small = peak_of(ws)
    bulk(ws, 16_000)
    many, large = peak_of(ws)
    assert (len(few), few.seen) == (500, 4_000)
    assert (len(many), many.seen) == (500, 20_000)
    assert large < 1.5 * small
