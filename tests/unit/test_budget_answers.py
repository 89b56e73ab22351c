"""One answer under a budget: refused before it, ended within it, booked after it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from budget_calls import PROMPT, reserved, run, used
from spending_fakes import plug_words

import llmops_jupyter as lo
from llmops_jupyter.errors import BudgetError
from llmops_jupyter.records import Usage


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
