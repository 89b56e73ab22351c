"""Baselines: what they keep of traces and rows, versions, aliases, and input that is wrong."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from monitor_rows import bulk, rows, trace

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.monitor.drift.collecting import Keeper, first_sessions, from_traces, hash_of
from llmops_jupyter.monitor.drift.features import Row
from llmops_jupyter.monitor.drift.sample import from_bytes, to_bytes
from llmops_jupyter.store.schema import MIGRATIONS


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


def test_equal_rows_by_other_filters_are_another_version(ws):
    for row in rows(40):
        trace(ws, row)
    first = baseline(ws, None)
    second = baseline(ws, None, prompt="support", note="only support")
    assert (first.version, second.version) == (1, 2)
    assert (first.filters, second.filters) == ({}, {"prompt": "support"})
    assert second.note == "only support"
    assert baseline(ws, None, prompt="support", since="2001-01-01").version == 2
    trace(ws, rows(1, seed=1)[0], prompt="other")
    for row in rows(12, seed=1):
        trace(ws, row)
    assert len(ws.monitor.check("usual", calibrated=False).window) == 12


def test_going_back_to_older_rows_makes_them_the_newest_version(memory):
    baseline(memory, rows(40))
    baseline(memory, rows(40, seed=2))
    back = baseline(memory, rows(40), note="roll back")
    assert (back.version, back.note) == (3, "roll back")
    assert memory.monitor.get("usual").version == 3
    assert back.content_hash == memory.monitor.get("usual@1").content_hash
    assert baseline(memory, rows(40)).version == 3


def test_what_is_left_of_a_removed_baseline_does_not_become_the_next_one(memory):
    gone = baseline(memory, rows(40))
    memory.monitor.remove("usual@1")
    made = baseline(memory, rows(40, seed=2))
    assert made.key != gone.key
    with pytest.raises(UnknownNameError, match=r"The baseline usual@1 was removed\."):
        _ = gone.sample


def test_a_check_against_a_baseline_that_was_removed_says_so(memory):
    gone = baseline(memory, rows(60))
    assert len(gone.sample) == 60
    memory.monitor.remove(gone)
    uses = (
        lambda: memory.monitor.check(gone, rows(30, seed=1), calibrated=False),
        lambda: memory.monitor.check(gone, rows(30, seed=1)),
        lambda: memory.monitor.alias(gone, "production"),
        lambda: memory.monitor.remove(gone),
        lambda: memory.monitor.stream(gone),
        lambda: memory.monitor.reports(gone),
    )
    for use in uses:
        with pytest.raises(UnknownNameError, match=r"The baseline usual@1 was removed\."):
            use()


def test_a_baseline_that_is_removed_while_it_is_checked_is_named(memory, monkeypatch):
    kept = baseline(memory, rows(60))
    found = memory.monitor._baselines
    memory.monitor.remove("usual")
    for write in (
        lambda: found.keep_report(kept, {"alarm": False, "rows": 30}),
        lambda: found.keep_calibration(kept, "1", {}),
    ):
        with pytest.raises(UnknownNameError, match="was removed"):
            write()


def test_an_older_store_keeps_its_baselines_checks_and_streams(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("llmops_jupyter.store.migrations.MIGRATIONS", MIGRATIONS[:25])
        with lo.open(tmp_path / "old.db") as ws:
            for seed in range(2):
                baseline(ws, rows(60, seed=seed))
            ws.monitor.check("usual", rows(30, seed=3))
            ws.monitor.stream("usual@1").update(rows(30, seed=4))
    with lo.open(tmp_path / "old.db") as ws:
        assert [one.version for one in ws.monitor.history("usual")] == [2, 1]
        assert len(ws.monitor.reports("usual")) == 1
        assert ws.monitor.stream("usual@1").rows == 30
        assert ws.store.row("SELECT count(*) FROM monitor_calibrations")[0] == 1
        assert ws.store.rows("PRAGMA foreign_key_check") == []
        keys = {one.key for one in ws.monitor.history("usual")}
        ws.monitor.remove("usual@2")
        assert baseline(ws, rows(60, seed=5)).key not in keys


def timed(count, **more):
    return [{**row, "at": f"2026-03-01T00:{i:02}:00", **more} for i, row in enumerate(rows(count))]


def test_rows_are_put_in_the_order_of_their_times(memory):
    given = timed(40)
    random.Random(1).shuffle(given)
    sample = baseline(memory, given).sample
    assert (np.diff(sample.times) > 0).all()
    assert sample.ids == tuple(row["id"] for row in rows(40))
    assert not any("order" in note for note in sample.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: [row.pop("at") for row in given], "have no time"),
        (lambda given: given[3].pop("at"), "39 of 40 rows have a time"),
        (lambda given: given[3].update(at="soon"), "39 of 40 rows have a time"),
        (lambda given: given[3].update(at="0001-01-01"), "39 of 40 rows have a time"),
        (lambda given: given[3].update(at="9999-01-01T00:00"), "39 of 40 rows have a time"),
    ],
)
def test_rows_without_times_stay_as_they_are_given_and_that_is_said(memory, change, message):
    given = timed(40)[::-1]
    change(given)
    sample = baseline(memory, given).sample
    assert sample.ids == tuple(row["id"] for row in given)
    assert message in str(sample.notes)


def test_a_word_in_a_column_of_numbers_is_missing_and_that_is_said(memory):
    given = rows(100)
    for row in given[::50]:
        row["latency"] = "n/a"
    given[1]["latency"] = ""
    given[2]["latency"] = " 2.5 "
    kept = baseline(memory, given)
    assert "latency" in kept.features["numbers"]
    assert "latency" not in kept.features["categories"]
    values = kept.sample.numbers["latency"]
    assert np.isnan(values).sum() == 3
    assert values[2] == 2.5
    assert "2 words in the column of numbers 'latency'" in str(kept)
    report = memory.monitor.check("usual", given[:40], calibrated=False)
    assert "latency" in {test.feature for test in report.tests}
    assert any("'latency'" in note for note in report.notes)


@pytest.mark.parametrize(("usual", "now"), [(int, str), (str, int), (str, float)])
def test_a_window_has_the_kinds_of_its_baseline(memory, usual, now):
    def graded(seed, kind):
        return [
            {**row, "grade": kind(1 + place % 4)} for place, row in enumerate(rows(60, seed=seed))
        ]

    baseline(memory, graded(0, usual))
    report = memory.monitor.check("usual", graded(1, now), calibrated=False)
    test = next(test for test in report.tests if test.feature == "grade")
    assert test.p_value > 0.5


def test_numbers_among_words_are_words(memory):
    given = [{**row, "shelf": "a" if i % 3 else i % 2} for i, row in enumerate(rows(60))]
    kept = baseline(memory, given)
    assert "shelf" not in kept.features["numbers"]
    assert set(kept.sample.categories["shelf"]) == {"a", "0", "1"}


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf")])
def test_numbers_that_are_too_large_are_refused(memory, value):
    with pytest.raises(DataError, match=r"cost|latency"):
        baseline(memory, [{**row, "latency": value} for row in rows(40)])


@pytest.mark.parametrize("size", [1e-38, 1e-25, 1e30, 1e38, 1e200])
def test_embeddings_of_any_length_are_directions(memory, size):
    rng = np.random.default_rng(0)
    given = rng.standard_normal((80, 4))
    usual = [{"input": f"a {i}", "embedding": list(row)} for i, row in enumerate(given[:40])]
    large = [{"input": f"b {i}", "embedding": list(row * size)} for i, row in enumerate(given[40:])]
    sample = baseline(memory, usual).sample
    assert np.linalg.norm(sample.vectors["input"].values, axis=1) == pytest.approx(1, abs=1e-5)
    report = memory.monitor.check("usual", large, calibrated=False)
    assert not report.alarm
    assert report.window.vectors["input"].values == pytest.approx(
        given[40:] / np.linalg.norm(given[40:], axis=1, keepdims=True), abs=2e-3
    )


def test_a_window_before_anything_has_come_says_that_only_later_traces_count(ws):
    for row in rows(40):
        trace(ws, row)
    baseline(ws, None, prompt="support")
    with pytest.raises(DataError, match=r"after the baseline usual@1 .* None has .* since="):
        ws.monitor.check("usual")
    for row in rows(4, seed=1):
        trace(ws, row)
    with pytest.raises(DataError, match=r"after the baseline usual@1 .* Only 4 have"):
        ws.monitor.check("usual")
    with pytest.raises(DataError, match="Widen since="):
        ws.monitor.check("usual", since="2100-01-01")


def test_rows_that_are_none_are_named_as_such(memory):
    baseline(memory, rows(40))
    for use in (
        lambda: memory.monitor.check("usual", []),
        lambda: baseline(memory, []),
    ):
        with pytest.raises(DataError, match=r"data= is empty.*Give"):
            use()


def test_embeddings_of_another_width_are_told_with_both_widths(memory):
    def with_vectors(width, count):
        rng = np.random.default_rng(width)
        return [
            {"input": f"a {i}", "embedding": list(rng.standard_normal(width))} for i in range(count)
        ]

    baseline(memory, with_vectors(384, 40))
    for use in (
        lambda given: memory.monitor.check("usual", given),
        lambda given: memory.monitor.stream("usual").update(given),
    ):
        with pytest.raises(DataError, match=r"384 numbers.*1,024 numbers.*two models"):
            use(with_vectors(1024, 30))


@pytest.mark.parametrize("limit", [-1, 0, 2.5, True, "all"])
def test_a_limit_that_is_no_number_from_one_is_refused(memory, limit):
    baseline(memory, rows(60))
    report = memory.monitor.check("usual", rows(30, seed=1, slower=3.0), calibrated=False)
    for use in (
        lambda: memory.monitor.reports(limit=limit),
        lambda: report.to_data("found", limit=limit),
        lambda: report.traces(limit=limit),
        lambda: report.gate("found", variant="support", limit=limit),
    ):
        with pytest.raises(OptionError, match="limit is a whole number from 1"):
            use()
    assert not [one for one in memory.data.list() if one.name == "found"]
