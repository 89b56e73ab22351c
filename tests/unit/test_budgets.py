"""Budgets as they are kept: their versions, what they are for, what cannot be meant, and what is said about them."""

from __future__ import annotations

import json
import math
import re

import pytest
from budget_calls import run, used
from spending_fakes import plug_words

from llmops_jupyter.errors import BudgetError, OptionError, UnknownNameError
from llmops_jupyter.tracing import Provenance

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
