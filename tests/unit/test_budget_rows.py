"""The rows of a map under a budget: which are kept, which go on later, and what is given back."""

from __future__ import annotations

import pytest
from budget_calls import reserved, used
from spending_fakes import plug_words

from llmops_jupyter.errors import BudgetError


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
