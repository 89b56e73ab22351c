"""Budgets are kept at every edge: before a call, within it, over rows, between processes, and by every clock."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from spending_fakes import plug_words

import llmops_jupyter as lo
from llmops_jupyter.errors import BudgetError, OptionError, UnknownNameError
from llmops_jupyter.records import Usage
from llmops_jupyter.tracing import Provenance

HERE = Path(__file__).parent
PROMPT = "say something"


@pytest.fixture
def clock(ws):
    """The time as budgets see it, noon at first."""
    found = [datetime(2026, 3, 4, 12).timestamp()]
    ws.monitor._budgets.now = lambda: found[0]
    return found


def run(ws, **options):
    return ws.prompts.run(ws.prompts.scratch(PROMPT), **options)


def used(ws, name, unit):
    return ws.monitor.budget(name).used[unit]


def reserved(ws):
    return ws.store.rows("SELECT * FROM budget_reservations")


# What a budget is.


def test_a_budget_is_kept_with_its_versions_and_what_was_used_stays_used(ws):
    plug_words(ws, 10)
    made = ws.monitor.budget("small", output_tokens=100, per="day", notebook="a.ipynb")
    assert (made.budget.version, made.status) == (1, "ok")
    ws.monitor.budget("all", output_tokens=20)
    run(ws)
    raised = ws.monitor.budget("all", output_tokens=40)
    assert raised.budget.version == 2
    assert raised.used == {"output_tokens": 10}
    assert raised.left("output_tokens") == 30
    same = ws.monitor.budget("all", output_tokens=40)
    assert same.budget.version == 2
    assert [b.limits["output_tokens"] for b in ws.monitor._budgets.history("all")] == [20, 40]


def test_what_is_not_given_stays_as_it_was_and_infinity_takes_a_limit_away(ws):
    ws.monitor.budget("b", tokens=100, calls=5, per="24h", prompt="support", warn=0.5)
    changed = ws.monitor.budget("b", tokens=math.inf).budget
    assert changed.limits == {"calls": 5}
    assert (changed.per, changed.scope, changed.warn) == ("24h", {"prompt": "support"}, 0.5)


def test_numbers_of_numpy_are_numbers(ws):
    import numpy as np

    made = ws.monitor.budget("b", tokens=np.int64(5), per=np.float32(2), warn=np.float64(0.5))
    assert (made.budget.limits, made.budget.per, made.budget.warn) == ({"tokens": 5}, "2h", 0.5)


def test_a_budget_for_something_else_begins_anew(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=5)
    run(ws)
    assert ws.monitor.budget("b", session="s1").used == {"calls": 0}


def test_a_fresh_budget_forgets_what_was_used(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=1)
    run(ws)
    assert ws.monitor.budget("b", fresh=True).used == {"calls": 0}
    run(ws)


def test_an_ended_budget_holds_no_more_and_one_of_the_same_name_begins_anew(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=1)
    run(ws)
    ws.monitor.end_budget("b")
    assert list(ws.monitor.budgets()) == []
    run(ws)
    assert ws.monitor.budget("b", calls=1).used == {"calls": 0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokens": -1}, "tokens is a number"),
        ({"tokens": float("nan")}, "tokens is a number"),
        ({"tokens": True}, "tokens is a number"),
        ({"tokens": "many"}, "tokens is a number"),
        ({"tokens": math.inf}, "has no limit"),
        ({"per": "day"}, "has no limit"),
        ({"tokens": 1, "per": "week"}, "per is 'call', 'day', 'total'"),
        ({"tokens": 1, "per": "-3h"}, "per is"),
        ({"tokens": 1, "per": True}, "per is"),
        ({"tokens": 1, "warn": 0}, "warn is a share"),
        ({"tokens": 1, "prompt": "No Name"}, "cannot be the name"),
        ({"tokens": 1, "notebook": 3}, "notebook is a name"),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused_and_nothing_is_written(ws, options, words):
    with pytest.raises(OptionError, match=words):
        ws.monitor.budget("b", **options)
    assert ws.store.rows("SELECT * FROM budgets") == []


def test_a_name_that_is_no_budget_is_told_with_what_there_is(ws):
    ws.monitor.budget("support", calls=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'support'"):
        ws.monitor.budget("suport")
    with pytest.raises(OptionError):
        ws.monitor.budget("Not a name", calls=1)


def test_budgets_are_shown_as_a_table_with_what_is_used(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=40, calls=100)
    run(ws)
    shown = ws.monitor.budgets()
    assert "10 of 40 output tokens" in str(shown)
    assert "25%" in shown._repr_mimebundle_()["text/html"]
    json.dumps([state.as_dict() for state in shown])


# One answer.


def test_an_answer_ends_at_the_token_at_which_its_budget_does(ws):
    engine = plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=7)
    done = run(ws)
    assert done.text == "w1 w2 w3 w4 w5 w6 w7"
    assert done.finish_reason == "budget"
    assert engine.requests[0].sampling.max_tokens == 7
    assert any("'b'" in note and "raise it" in note for note in done.notes)
    trace = ws.traces.get(done.trace_id)
    assert trace.status == "ok"
    assert trace.text == done.text
    assert {s.attributes["gen_ai.response.finish_reasons"][0] for s in trace.spans} == {"budget"}
    assert used(ws, "b", "output_tokens") == 7
    assert reserved(ws) == []


def test_an_answer_that_fits_is_not_touched(ws):
    engine = plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=10_000)
    done = run(ws, max_tokens=64)
    assert (done.finish_reason, done.notes) == ("stop", ())
    assert engine.requests[0].sampling.max_tokens == 64


def test_an_answer_of_exactly_what_is_left_is_whole(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=10)
    assert run(ws).finish_reason == "stop"
    with pytest.raises(BudgetError):
        run(ws)


def test_an_answer_that_its_own_length_ends_is_not_said_to_be_cut_by_the_budget(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=1000)
    assert run(ws, max_tokens=5).finish_reason == "length"


def test_a_call_is_refused_when_nothing_is_left_and_leaves_no_trace(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=10, per="day")
    run(ws)
    before = len(ws.traces.newest())
    with pytest.raises(BudgetError) as told:
        run(ws)
    words = str(told.value)
    assert "'b'" in words
    assert "10 output tokens used" in words
    assert "begins anew at" in words
    assert "monitor.budget('b', output_tokens=20)" in words
    assert len(ws.traces.newest()) == before


def test_a_prompt_counts_where_all_tokens_do(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", tokens=7)  # two words are asked
    done = run(ws)
    assert (done.usage.input_tokens, done.usage.output_tokens) == (2, 5)
    assert done.finish_reason == "budget"
    assert used(ws, "b", "tokens") == 7


def test_a_prompt_for_which_the_rest_is_too_small_is_refused(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", tokens=2)
    with pytest.raises(BudgetError, match="has 2 tokens left, too little"):
        run(ws)


def test_a_budget_of_nothing_lets_nothing_run(ws):
    plug_words(ws, 10)
    for unit in ("tokens", "output_tokens", "seconds", "calls"):
        ws.monitor.budget("b", **{unit: 0})
        with pytest.raises(BudgetError):
            run(ws)
        ws.monitor.end_budget("b")


def test_calls_are_counted(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=2)
    run(ws)
    run(ws)
    with pytest.raises(BudgetError, match="2 calls"):
        run(ws)


def test_time_ends_an_answer_too(ws):
    plug_words(ws, 10, a_word_s=1.0)
    ws.monitor.budget("b", seconds=4)
    done = run(ws)
    assert (done.text, done.finish_reason) == ("w1 w2 w3 w4", "budget")
    assert used(ws, "b", "seconds") == 4


def test_a_timeout_of_the_call_that_comes_first_is_no_budget(ws):
    plug_words(ws, 10, a_word_s=1.0)
    ws.monitor.budget("b", seconds=100)
    assert run(ws, timeout=3).finish_reason == "deadline"


def test_a_limit_of_each_call_holds_for_each_call(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=4, per="call")
    for _ in range(3):
        assert run(ws).usage.output_tokens == 4
    assert ws.monitor.budget("b").status == "ok"


def test_the_tightest_of_several_budgets_holds_and_all_are_booked(ws):
    plug_words(ws, 10)
    ws.monitor.budget("wide", output_tokens=100)
    ws.monitor.budget("tight", output_tokens=3)
    done = run(ws)
    assert done.usage.output_tokens == 3
    assert "'tight'" in done.notes[0]
    assert used(ws, "wide", "output_tokens") == 3


def test_an_answer_that_crosses_the_line_of_warning_says_so_once(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=50)
    notes = [run(ws).notes for _ in range(5)]
    assert [bool(n) for n in notes] == [False, False, False, True, False]
    assert "80%" in notes[3][0]
    assert ws.monitor.budget("b").status == "used up"


def test_a_call_that_fails_before_anything_was_computed_uses_nothing(ws):
    from engine_fakes import plug

    plug(ws)
    ws.monitor.budget("b", calls=1, tokens=1000)
    with pytest.raises(lo.LLMOpsError, match="too long"):
        ws.prompts.run(ws.prompts.scratch("bad"))
    assert ws.monitor.budget("b").used == {"tokens": 0, "calls": 0}
    assert reserved(ws) == []


def test_an_interrupted_answer_is_booked_and_gives_back_the_rest(ws):
    def stop(number):
        if number == 4:
            raise KeyboardInterrupt

    plug_words(ws, 10, at_word=stop)
    ws.monitor.budget("b", output_tokens=500, calls=9)
    with pytest.raises(KeyboardInterrupt):
        run(ws)
    assert reserved(ws) == []
    assert used(ws, "b", "calls") == 1
    assert 0 < used(ws, "b", "output_tokens") < 20


def test_an_answer_whose_reader_leaves_is_booked(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=9)
    with ws.prompts.stream(ws.prompts.scratch(PROMPT)) as stream:
        next(iter(stream))
    assert used(ws, "b", "calls") == 1
    assert reserved(ws) == []


def test_a_second_step_that_nothing_is_left_for_ends_the_run_with_what_there_is(ws):
    engine = plug_words(ws, 10)
    ws.monitor.budget("b", calls=1)
    done = ws.prompts.run(ws.prompts.scratch(PROMPT, cot=True))
    assert len(engine.requests) == 1
    assert done.finish_reason == "budget"
    assert "w10" in done.reasoning
    assert "used up" in done.notes[0]


def test_dollars_follow_from_prices_and_end_an_answer(ws, tmp_path, monkeypatch):
    prices = tmp_path / "prices.json"
    said = {"watts": 1000, "dollars_per_kwh": 3.6, "date": "2026-01-01", "source": "meter"}
    prices.write_text(json.dumps({"date": "2026-01-01", "local": said}))
    monkeypatch.setenv("LLMOPS_PRICES", str(prices))
    plug_words(ws, 10, a_word_s=1.0)
    ws.monitor.budget("b", dollars=0.005)  # 1 kW at 3.6 $/kWh is a tenth of a cent a second
    done = run(ws)
    assert (done.usage.output_tokens, done.finish_reason) == (5, "budget")
    assert used(ws, "b", "dollars") == pytest.approx(0.005)
    ws.monitor.end_budget("b")
    ws.monitor.budget("j", joules=3000)
    assert run(ws).usage.output_tokens == 3
    assert used(ws, "j", "joules") == pytest.approx(3000)


def test_a_limit_of_what_nobody_knows_says_that_it_does_not_count(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", dollars=1)
    done = run(ws)
    assert done.finish_reason == "stop"
    assert "does not count this call" in done.notes[0]


# What a budget is for.


def test_a_budget_of_a_prompt_leaves_others_alone(ws):
    plug_words(ws, 10)
    ws.prompts.save("support", "one {{ x }}")
    ws.prompts.save("support", "two {{ x }}")
    ws.prompts.save("other", "three")
    ws.prompts.alias("support@1", "production")
    ws.monitor.budget("all", calls=100, prompt="support")
    ws.monitor.budget("live", calls=100, prompt="support@production")
    ws.monitor.budget("second", calls=100, prompt="support@2")
    for name in ("support@1", "support@2", "support@production", "other"):
        ws.prompts.run(name, {"x": 1})
    assert [used(ws, n, "calls") for n in ("all", "live", "second")] == [3, 2, 1]


def test_versions_of_a_split_belong_to_its_alias(ws):
    plug_words(ws, 10)
    ws.prompts.save("support", "one")
    ws.prompts.save("support", "two")
    ws.prompts.alias("support@1", "production")
    ws.prompts.split("support", {1: 50, 2: 50})
    ws.monitor.budget("live", calls=100, prompt="support@production")
    for n in range(6):
        ws.prompts.run("support@production", unit=f"u{n}")
    assert used(ws, "live", "calls") == 6


def test_a_budget_of_a_notebook_and_of_a_session_know_their_own(ws):
    plug_words(ws, 10)
    ws.monitor.budget("here", calls=100, notebook="a.ipynb")
    ws.monitor.budget("talk", calls=100, session="s1")
    run(ws)
    ws.tracer.provenance = lambda: Provenance(notebook="a.ipynb")
    run(ws)
    run(ws, session="s1")
    assert (used(ws, "here", "calls"), used(ws, "talk", "calls")) == (2, 1)


@pytest.mark.parametrize("path", ["/home/ann/project/analysis.ipynb", r"C:\lab\analysis.ipynb"])
def test_a_budget_of_a_notebook_knows_it_by_its_file_name(ws, path):
    plug_words(ws, 10)
    ws.tracer.provenance = lambda: Provenance(notebook=path)
    ws.monitor.budget("nb", calls=1, notebook="analysis.ipynb")
    ws.monitor.budget("other", calls=1, notebook="sis.ipynb")
    run(ws)
    assert used(ws, "other", "calls") == 0
    with pytest.raises(BudgetError, match="'nb'"):
        run(ws)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("river@prodction", "Did you mean 'production'"),
        ("river@9", "has no version 9"),
        ("river@latest", "bare name is the latest"),
    ],
)
def test_a_version_or_alias_that_a_prompt_has_not_is_refused(ws, prompt, words):
    ws.prompts.save("river", "name one")
    ws.prompts.alias("river@1", "production")
    with pytest.raises(UnknownNameError, match=words):
        ws.monitor.budget("b", calls=1, prompt=prompt)
    assert ws.store.rows("SELECT * FROM budgets") == []
    assert ws.monitor.budget("b", calls=1, prompt="river@production").remark == ""


def test_a_budget_of_a_prompt_that_is_not_there_says_so_until_it_is(ws):
    plug_words(ws, 10)
    ws.prompts.save("triage", "sort this")
    made = ws.monitor.budget("b", calls=1, prompt="triag")
    assert made.remark == "no prompt 'triag' yet. Did you mean 'triage'?"
    assert "no prompt 'triag' yet. Did you mean 'triage'?" in str(ws.monitor.budgets())
    assert "triag" in ws.monitor.budgets()._repr_mimebundle_()["text/html"]
    ws.prompts.save("triag", "sort that")
    assert ws.monitor.budget("b").remark == ""


def test_a_budget_whose_alias_is_gone_says_so(ws):
    ws.prompts.save("river", "name one")
    ws.prompts.alias("river@1", "production")
    ws.monitor.budget("b", calls=1, prompt="river@production")
    ws.prompts.unalias("river@production")
    assert ws.monitor.budget("b").remark == "no river@production any more"


def test_a_budget_for_what_no_call_was_of_yet_says_so(ws):
    plug_words(ws, 10)
    ws.monitor.budget("d", calls=9, deployment="nope")
    ws.monitor.budget("n", calls=9, notebook="a.ipynb", session="s")
    assert ws.monitor.budget("d").remark == "no call of deployment nope yet"
    assert (
        ws.monitor.budget("n").as_dict()["remark"]
        == "no call of notebook a.ipynb and session s yet"
    )
    ws.tracer.provenance = lambda: Provenance(notebook="/x/a.ipynb")
    run(ws, session="s")
    assert ws.monitor.budget("n").remark == ""
    assert ws.monitor.budget("d").remark != ""


ADVICE = re.compile(r"monitor\.budget\('b', (\w+)=([\d._e-]+)\)")


@pytest.mark.parametrize(
    ("limits", "runs"),
    [
        ({"seconds": 0.001}, 2),
        ({"seconds": 0}, 1),
        ({"tokens": 0}, 1),
        ({"tokens": 1}, 1),
        ({"output_tokens": 0}, 1),
        ({"calls": 0}, 1),
        ({"joules": 0.1}, 2),
        ({"joules": 0}, 1),
        ({"dollars": 0}, 1),
        ({"dollars": 1e-9}, 2),
        ({"calls": 1}, 2),
        ({"seconds": 1.5}, 2),
    ],
)
def test_what_is_advised_for_a_budget_that_is_used_up_lets_a_call_run(
    ws, tmp_path, monkeypatch, limits, runs
):
    prices = tmp_path / "prices.json"
    said = {"watts": 30, "dollars_per_kwh": 0.3}
    prices.write_text(json.dumps({"date": "2026-01-01", "local": said}))
    monkeypatch.setenv("LLMOPS_PRICES", str(prices))
    plug_words(ws, 10, a_word_s=0.2)
    ws.monitor.budget("b", **limits)
    for _ in range(runs - 1):
        run(ws)
    try:
        told = " ".join(run(ws).notes)
    except BudgetError as e:
        told = str(e)
    unit, value = ADVICE.search(told).groups()
    advised = float(value.replace("_", ""))
    assert advised > limits[unit]
    ws.monitor.budget("b", **{unit: advised})
    assert run(ws).usage.output_tokens > 0


def test_a_limit_that_was_lowered_under_what_was_used_is_advised_to_be_above_it(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=1000)
    for _ in range(5):
        run(ws)
    ws.monitor.budget("b", output_tokens=4)
    with pytest.raises(BudgetError, match="output_tokens=102"):
        run(ws)


# Rows.


def mapped(ws, count=6, **options):
    content = ws.prompts.scratch("say {{ n }}")
    return ws.prompts.map(content, [{"n": n} for n in range(count)], **options)


def test_a_map_keeps_the_rows_that_the_budget_was_enough_for_and_goes_on_later(ws):
    engine = plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=35)
    table = mapped(ws, max_tokens=20)
    assert [c.finish_reason for c in table] == ["stop"] * 3 + ["budget"] * 3
    assert table[3].text == "w1 w2 w3 w4 w5"
    assert used(ws, "b", "output_tokens") == 35
    assert [f.row_id for f in table.failures] == ["3", "4", "5"]
    assert "runs the row again" in table.failures[0].error
    assert "goes on from here" in table.failures[1].error
    ws.monitor.budget("b", output_tokens=1000)
    asked = len(engine.requests)
    again = mapped(ws, max_tokens=20)
    assert [c.finish_reason for c in again] == ["stop"] * 6
    assert again.failures == ()
    assert len(engine.requests) - asked == 3


def test_rows_that_reserve_more_than_they_use_do_not_shut_each_other_out(ws):
    plug_words(ws, 10, rows=4)
    ws.monitor.budget("b", output_tokens=100)
    table = mapped(ws, count=10, max_tokens=90)
    assert table.failures == ()
    assert used(ws, "b", "output_tokens") == 100


def test_a_map_that_nothing_is_left_for_is_refused(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=0)
    with pytest.raises(BudgetError):
        mapped(ws)
    assert ws.traces.newest() == []


def test_a_map_counts_its_calls_exactly(ws):
    engine = plug_words(ws, 10)
    ws.monitor.budget("b", calls=4)
    table = mapped(ws)
    assert (len(engine.requests), len(table.failures)) == (4, 2)


def test_an_interrupted_map_gives_back_what_its_rows_had_reserved(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=1000, calls=100)

    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(ws, progress=stop)
    assert reserved(ws) == []
    assert used(ws, "b", "calls") >= 2


def test_rows_that_reason_first_end_with_their_reasoning(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=3)
    content = ws.prompts.scratch("say {{ n }}", cot=True)
    table = ws.prompts.map(content, [{"n": n} for n in range(2)])
    assert [c.finish_reason for c in table] == ["stop", "budget"]
    assert table[1].reasoning
    assert reserved(ws) == []


# Clocks and windows.


def test_a_budget_of_a_day_begins_anew_at_midnight(ws, clock):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=1, per="day")
    run(ws)
    midnight = datetime(2026, 3, 5).timestamp()
    clock[0] = midnight - 1
    with pytest.raises(BudgetError, match="2026-03-05 00:00"):
        run(ws)
    clock[0] = midnight
    run(ws)


def test_a_rolling_window_lets_go_of_what_is_older(ws, clock):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=2, per="2h")
    run(ws)
    clock[0] += 3600
    run(ws)
    with pytest.raises(BudgetError):
        run(ws)
    clock[0] += 3600 + 60
    run(ws)
    with pytest.raises(BudgetError):
        run(ws)


@pytest.mark.parametrize("per", ["day", "3h", "total"])
def test_a_clock_that_goes_back_frees_nothing(ws, clock, per):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=1, per=per)
    run(ws)
    for back in (timedelta(minutes=5), timedelta(days=2), timedelta(days=400)):
        clock[0] -= back.total_seconds()
        with pytest.raises(BudgetError):
            run(ws)


def test_a_budget_whose_clock_went_back_begins_anew_when_use_no_longer_counts(ws, clock):
    plug_words(ws, 10)
    ws.monitor.budget("b", calls=1, per="day")
    run(ws)
    clock[0] -= timedelta(days=2).total_seconds()
    with pytest.raises(BudgetError) as told:
        run(ws)
    assert "The clock went back: use is booked until 2026-03-04 12:00." in str(told.value)
    assert "begins anew at 2026-03-05 00:00" in str(told.value)
    clock[0] = datetime(2026, 3, 5).timestamp() - 1
    with pytest.raises(BudgetError, match="begins anew at 2026-03-05 00:00") as told:
        run(ws)
    assert "went back" not in str(told.value)
    clock[0] += 1
    run(ws)


# Several at once.


def test_a_call_that_runs_has_reserved_what_it_may_use(ws):
    held, goes_on = threading.Event(), threading.Event()

    def wait(number):
        if number == 2:
            held.set()
            assert goes_on.wait(30)

    plug_words(ws, 10, at_word=wait)
    ws.monitor.budget("b", output_tokens=100)
    thread = threading.Thread(target=run, args=(ws,), kwargs={"max_tokens": 70})
    with lo.open(ws.path) as other:
        plug_words(other, 100)
        thread.start()
        assert held.wait(30)
        try:
            done = other.prompts.run(other.prompts.scratch(PROMPT))
            assert done.usage.output_tokens == 30
            with pytest.raises(BudgetError, match="reserved by running calls"):
                other.prompts.run(other.prompts.scratch(PROMPT))
        finally:
            goes_on.set()
            thread.join(30)
        assert used(ws, "b", "output_tokens") == 40
        assert other.prompts.run(other.prompts.scratch(PROMPT)).usage.output_tokens == 60


def test_a_running_answer_notices_that_others_have_used_up_the_time(ws, clock, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.monitor.cost.purse.CHECK_S", 0.0)
    other_used = [0]

    def book(number):
        if number == 5:
            with ws.store.write() as conn:
                account = ws.monitor.budget("b").budget.account
                minute = int(clock[0] // 60)
                conn.execute(
                    "INSERT INTO budget_usage VALUES (?, 'seconds', ?, 100)", (account, minute)
                )
            other_used[0] = 100

    engine = plug_words(ws, 10, at_word=book)
    ws.monitor.budget("b", seconds=50)
    done = run(ws)
    assert done.finish_reason == "budget"
    assert done.text.split() == ["w1", "w2", "w3", "w4", "w5"]
    assert done.usage.output_tokens == engine.count_tokens(done.text)
    assert ws.traces.get(done.trace_id).status == "ok"
    assert reserved(ws) == []


CHILD = """
import sys
sys.path.insert(0, {here!r})
from spending_fakes import plug_words
import llmops_jupyter as lo
from llmops_jupyter.errors import BudgetError
with lo.open({path!r}) as ws:
    plug_words(ws, 25)

    def ask():
        return ws.prompts.run(ws.prompts.scratch("go"), max_tokens=40).usage.output_tokens

    wrote = ask()  # Nothing is cold, so both race for the rest.
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        while True:
            wrote += ask()
    except BudgetError:
        print(wrote)
"""


def child(ws, code=CHILD):
    return subprocess.Popen(
        [sys.executable, "-c", code.format(here=str(HERE), path=str(ws.path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_together_stay_within_a_budget(ws):
    ws.monitor.budget("b", output_tokens=1010)
    children = [child(ws) for _ in range(2)]
    for one in children:
        assert one.stdout.readline() == "ready\n"
    wrote = []
    for one in children:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in children:
        wrote.append(int(one.communicate(timeout=120)[0]))
    state = ws.monitor.budget("b")
    assert sum(wrote) == state.used["output_tokens"]
    # Who ends first was refused while the other held the rest, so nothing is overrun.
    assert 1010 - 40 <= sum(wrote) <= 1010


KILLED = """
import os, sys
sys.path.insert(0, {here!r})
from spending_fakes import plug_words
import llmops_jupyter as lo
ws = lo.open({path!r})
plug_words(ws, 25, at_word=lambda number: os._exit(9) if number == 3 else None)
ws.prompts.run(ws.prompts.scratch("go"), max_tokens=40)
"""


def test_what_a_killed_process_had_reserved_counts_as_used(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=100, calls=50)
    with child(ws, KILLED) as killed:
        assert killed.wait(60) == 9
    assert len(reserved(ws)) == 2
    run(ws)
    assert ws.monitor.budget("b").used == {"output_tokens": 50, "calls": 2}
    assert reserved(ws) == []


def test_a_row_that_cannot_begin_gives_back_what_it_had_reserved(ws, monkeypatch):
    from llmops_jupyter.prompts import mapping

    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=1000, calls=10)
    begun = []
    monkeypatch.setattr(
        mapping, "chat_span", lambda *given: begun.append(given) or (_ for _ in ()).throw(OSError())
    )
    with pytest.raises(OSError):
        mapped(ws)
    assert begun
    assert reserved(ws) == []
    assert ws.monitor.budget("b").used == {"output_tokens": 0, "calls": 0}


def test_a_context_that_ends_before_the_budget_is_not_said_to_be_the_budget(ws):
    engine = plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=8)
    whole = engine._answer

    def short(request):
        *tokens, end = whole(request)
        yield from tokens[:3]
        yield replace(end, finish_reason="length", usage=Usage(2, 3))

    engine._answer = short
    assert run(ws).finish_reason == "length"
