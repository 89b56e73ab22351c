"""What calls took, added up by group, with where each figure comes from."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from call_rows import add_calls
from scipy import stats
from spending_fakes import plug_words

from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.models.prices import assumptions_of
from llmops_jupyter.tracing import Provenance

SAID = {
    "date": "2026-02-03",
    "local": {
        "watts": 100,
        "dollars_per_kwh": 0.36,
        "dollars_per_hour": 3.6,
        "grams_per_kwh": 360,
        "source": "wall meter",
        "models": {"small": {"watts": 10}},
    },
}


@pytest.fixture
def prices(tmp_path, monkeypatch):
    path = tmp_path / "prices.json"
    monkeypatch.setenv("LLMOPS_PRICES", str(path))

    def say(value):
        path.write_text(json.dumps(value))

    say(SAID)
    return say


def figure(report, name, line=None):
    found = (report.total if line is None else report.lines[line]).figures[name]
    return found.value, found.source


def test_totals_and_means_of_groups_are_those_of_their_calls(ws):
    rng = np.random.default_rng(1)
    calls = [
        {
            "prompt_name": name,
            "prompt_version": 1,
            "input_tokens": int(rng.integers(1, 99)),
            "output_tokens": int(rng.integers(1, 99)),
            "cached_tokens": 3,
            "seconds": float(rng.lognormal()),
        }
        for name in ["a", "b", "a", "a", None] * 20
    ]
    add_calls(ws, calls)
    report = ws.monitor.costs(by="prompt")
    assert {line.name: line.calls for line in report.lines} == {"a": 60, "b": 20, "(scratch)": 20}
    assert figure(report, "output") == (sum(c["output_tokens"] for c in calls), "measured")
    assert figure(report, "cached") == (300, "measured")
    seconds = np.array([c["seconds"] for c in calls])
    mean = report.total.means["seconds"]
    assert mean.value == pytest.approx(seconds.mean(), rel=1e-6)
    low, high = stats.t.interval(0.95, 99, seconds.mean(), stats.sem(seconds))
    assert (mean.interval.low, mean.interval.high) == pytest.approx((low, high), rel=1e-6)


def test_a_group_of_one_call_has_a_mean_without_an_interval(ws):
    add_calls(ws, [{"input_tokens": 5, "output_tokens": 7}])
    mean = ws.monitor.costs().total.means["output_tokens"]
    assert (mean.value, mean.n, mean.interval) == (7, 1, None)


def test_no_calls_are_a_sentence(ws):
    report = ws.monitor.costs()
    assert "No calls" in str(report)
    assert report.lines == []
    assert report._repr_mimebundle_() == {"text/plain": str(report)}
    assert report.plot.figure()


def test_seconds_of_a_model_here_cost_what_the_user_says(ws, prices):
    add_calls(ws, [{"busy_s": 10.0, "cpu_s": 20.0, "shared": 0, "seconds": 12.0}] * 5)
    report = ws.monitor.costs(by="model")
    assert figure(report, "busy") == (50, "measured")
    assert figure(report, "energy") == (pytest.approx(5000), "assumed")
    hours, kwh = 50 / 3600, 5000 / 3.6e6
    assert figure(report, "dollars") == (pytest.approx(hours * 3.6 + kwh * 0.36), "assumed")
    assert figure(report, "carbon") == (pytest.approx(kwh * 360), "assumed")
    assert "wall meter, 2026-02-03" in str(report)
    assert report.total.uncosted == 0


def test_a_model_may_have_assumptions_of_its_own(ws, prices):
    add_calls(ws, [{"busy_s": 1.0, "cpu_s": 1.0, "model": "small"}])
    assert figure(ws.monitor.costs(), "energy") == (pytest.approx(10), "assumed")
    assert assumptions_of("small").dollars_per_kwh == 0.36
    assert assumptions_of("other").watts == 100


def test_joules_that_a_counter_gave_win_over_watts_that_someone_said(ws, prices):
    counted = {"busy_s": 1.0, "cpu_s": 1.0, "energy_j": 7.0, "energy_source": "measured"}
    add_calls(ws, [counted] * 3)
    assert figure(ws.monitor.costs(), "energy") == (21, "measured")
    add_calls(ws, [{**counted, "shared": 1}])
    assert figure(ws.monitor.costs(), "energy") == (28, "estimated")
    add_calls(ws, [{"busy_s": 2.0, "cpu_s": 2.0}])
    assert figure(ws.monitor.costs(), "energy") == (228, "assumed")


def test_what_nobody_knows_is_missing_and_said_to_be(ws):
    add_calls(ws, [{"busy_s": 1.0, "cpu_s": 1.0}] * 4)
    report = ws.monitor.costs()
    assert not {"dollars", "energy", "carbon"} & set(report.total.figures)
    assert report.total.uncosted == 4
    assert "4 of 4 calls" in str(report)


def test_prices_of_endpoints_are_estimates_and_do_not_mix_with_ours(ws, prices):
    add_calls(ws, [{"provider": "openai", "model": "gpt", "cost": 0.5, "input_tokens": 1}] * 2)
    add_calls(ws, [{"busy_s": 3600.0, "cpu_s": 3600.0}])
    report = ws.monitor.costs(by="model")
    by_name = {line.name: line for line in report.lines}
    assert by_name["gpt"].figures["dollars"].value == 1
    assert by_name["gpt"].figures["dollars"].source == "estimated"
    assert "energy" not in by_name["gpt"].figures
    assert report.total.figures["dollars"].source == "assumed"


@pytest.mark.parametrize(
    "by", ["prompt", "version", "model", "notebook", "session", "day", "status"]
)
def test_every_grouping_holds_every_call_once(ws, by):
    calls = [
        {"prompt_name": "a", "prompt_version": n % 3, "session": f"s{n % 2}"} for n in range(9)
    ]
    add_calls(ws, calls, every_s=40_000)
    report = ws.monitor.costs(by=by)
    assert sum(line.calls for line in report.lines) == report.total.calls == 9
    assert sum(point[1] for point in report.over_time) == 9
    json.dumps(report.as_dict())
    assert report.plot.figure()


def test_steps_are_found_by_the_notebook_of_their_root(ws):
    plug_words(ws, 5)
    ws.tracer.provenance = lambda: Provenance(notebook="a.ipynb")
    ws.prompts.run(ws.prompts.scratch("hello"))
    ws.tracer.provenance = None
    ws.prompts.run(ws.prompts.scratch("hello"))
    assert {line.name for line in ws.monitor.costs(by="notebook").lines} == {"a.ipynb", "(none)"}
    assert ws.monitor.costs(notebook="a.ipynb").total.calls == 1


def test_a_notebook_is_known_by_its_path_and_by_the_end_of_it(ws):
    plug_words(ws, 5)
    for path in (
        "/home/ann/project/analysis.ipynb",
        "C:\\lab\\analysis.ipynb",
        "/a/my-analysis.ipynb",
    ):
        ws.tracer.provenance = lambda path=path: Provenance(notebook=path)
        ws.prompts.run(ws.prompts.scratch("hello"))

    def calls(name):
        return ws.monitor.costs(notebook=name).total.calls

    assert calls("analysis.ipynb") == 2
    assert calls("project/analysis.ipynb") == 1
    assert calls("/home/ann/project/analysis.ipynb") == 1
    assert [calls(name) for name in ("sis.ipynb", "", "_nalysis.ipynb", "%")] == [0] * 4


def test_an_alias_is_the_version_that_it_points_at(ws):
    for text in ("one", "two"):
        ws.prompts.save("a", text)
    ws.prompts.alias("a@2", "production")
    add_calls(ws, [{"prompt_name": "a", "prompt_version": 1 + (n > 2)} for n in range(10)])
    assert ws.monitor.costs(prompt="a@production").total.calls == 7
    with pytest.raises(UnknownNameError, match="Did you mean 'production'"):
        ws.monitor.costs(prompt="a@prodction")


def rows_of_a_map(count, **given):
    batch = json.dumps({"llmops.map.row_id": "a", "llmops.map.rows": count})
    return [{**given, "seconds": 5.0 * (n + 1), "attributes": batch} for n in range(count)]


def test_rows_that_wait_for_each_other_have_no_part_in_the_times_of_calls(ws):
    add_calls(ws, [{"prompt_name": "a", "seconds": s, "output_tokens": 5} for s in (2.0, 4.0)])
    add_calls(ws, rows_of_a_map(50, prompt_name="b", output_tokens=5))
    report = ws.monitor.costs()
    by_name = {line.name: line for line in report.lines}
    assert figure(report, "seconds") == (pytest.approx(6), "measured")
    assert (report.total.means["seconds"].value, report.total.means["seconds"].n) == (3, 2)
    assert report.total.means["output_tokens"].n == 52
    assert "seconds" not in by_name["b"].figures
    assert (by_name["a"].waiting, by_name["b"].waiting, report.total.waiting) == (0, 50, 50)
    assert "50 calls were rows that were asked together" in str(report)
    assert "time of the 2 others" in str(report)
    assert report.as_dict()["total"]["waiting"] == 50


@pytest.mark.parametrize("cot", [False, True])
def test_rows_that_a_map_asked_together_are_known_by_their_calls(ws, cot):
    plug_words(ws, 5)
    content = ws.prompts.scratch("say {{ n }}", cot=cot)
    ws.prompts.map(content, [{"n": n} for n in range(4)])
    ws.prompts.map(content, [{"n": "a map of one row waits for nobody"}])
    ws.prompts.run(content, {"n": 9})
    steps = 1 + cot
    report = ws.monitor.costs()
    assert (report.total.waiting, report.total.calls) == (4 * steps, 6 * steps)
    assert report.total.means["seconds"].n == 2 * steps


def test_where_all_calls_are_rows_asked_together_no_time_is_told(ws):
    add_calls(ws, rows_of_a_map(4, output_tokens=5))
    report = ws.monitor.costs()
    assert "seconds" not in report.total.figures
    assert "4 calls were rows that were asked together" in str(report)
    assert "seconds" not in report.total.means


def test_calls_can_be_filtered(ws):
    now = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
    calls = [{"prompt_name": "a", "prompt_version": 1 + n % 2} for n in range(10)]
    add_calls(ws, calls, now_ns=int(now.timestamp() * 1e9))
    assert ws.monitor.costs(prompt="a@2").total.calls == 5
    assert ws.monitor.costs(prompt="a", since=now - timedelta(seconds=45)).total.calls == 4
    assert ws.monitor.costs(model="none").total.calls == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "promt"}, "Did you mean 'prompt'"),
        ({"colour": "red"}, "cannot be filtered by 'colour'"),
        ({"prompt": "a@"}, "names no version"),
        ({"since": "yesterday"}, "is no time"),
        ({"confidence": 2}, "confidence is between"),
    ],
)
def test_what_cannot_be_asked_is_told(ws, options, words):
    with pytest.raises(OptionError, match=words):
        ws.monitor.costs(**options)


@pytest.mark.parametrize(
    "local", [{"wats": 3}, {"watts": -1}, {"watts": "many"}, {"models": {"m": {"x": 1}}}]
)
def test_assumptions_that_cannot_be_read_are_told_with_their_form(ws, prices, local):
    prices({"date": "2026-01-01", "local": local})
    add_calls(ws, [{"busy_s": 1.0}])
    with pytest.raises(OptionError, match="The form is"):
        ws.monitor.costs()


def test_records_have_numbers_beside_their_sources(ws, prices):
    pandas = pytest.importorskip("pandas")
    add_calls(ws, [{"busy_s": 1.0, "cpu_s": 1.0, "input_tokens": 2, "output_tokens": 3}] * 3)
    frame = ws.monitor.costs(by="model").to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc[0, "dollars_source"] == "assumed"
    assert frame.loc[0, "output_tokens_mean"] == 3


def test_sums_of_many_calls_take_no_memory_here(ws):
    add_calls(
        ws, [{"prompt_name": f"p{n % 5}", "input_tokens": 1} for n in range(20_000)], every_s=1
    )
    ws.monitor.costs()
    tracemalloc.start()
    try:
        ws.monitor.costs()
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_trace_tells_what_its_steps_took_and_its_root_their_sum(ws):
    plug_words(ws, 10, energy_j=5.0)
    done = ws.prompts.run(ws.prompts.scratch("think", cot=True))
    assert done.resources.busy_s == pytest.approx(0.2)
    trace = ws.traces.get(done.trace_id)
    assert trace.root.resources == done.resources
    assert [s.resources.energy_j for s in trace.spans[1:]] == [5.0, 5.0]
    assert "energy 10 J" in str(trace)
    assert "cpu 400 ms" in str(trace)
    assert trace.as_dict()["spans"][0]["resources"]["energy"]["source"] == "measured"


def test_what_calls_took_is_recorded_and_replayed_and_older_cassettes_have_none(ws, tmp_path):
    from spending_fakes import WordEngine

    from llmops_jupyter.engine.cassette import Cassette
    from llmops_jupyter.engine.protocol import Request
    from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine
    from llmops_jupyter.records import Message

    path = tmp_path / "calls.json"
    request = Request("1", messages=(Message("user", "hello"),))
    told = list(RecordingEngine(WordEngine(), Cassette(path)).generate([request]))[-1].resources
    played = list(ReplayEngine(Cassette.load(path), "words", "f" * 64).generate([request]))[-1]
    assert played.resources == told
    value = json.loads(path.read_text())
    del value["calls"][0]["response"]["resources"]
    path.write_text(json.dumps(value))
    older = list(ReplayEngine(Cassette.load(path), "words", "f" * 64).generate([request]))[-1]
    assert older.resources is None
    assert older.text == played.text


def test_rows_of_a_map_that_was_broken_off_keep_what_they_took(ws):
    plug_words(ws, 10)
    rows = [{"n": n} for n in range(4)]
    content = ws.prompts.scratch("say {{ n }}")

    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.prompts.map(content, rows, progress=stop)
    table = ws.prompts.map(content, rows)
    assert [c.resources.busy_s for c in table] == pytest.approx([0.1] * 4)
