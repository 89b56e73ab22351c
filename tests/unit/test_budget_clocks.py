"""Budgets of a day and of a rolling window, by clocks that go on and back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from budget_calls import run, set_clock
from spending_fakes import plug_words

from llmops_jupyter.errors import BudgetError


@pytest.fixture
def clock(ws):
    return set_clock(ws)


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
