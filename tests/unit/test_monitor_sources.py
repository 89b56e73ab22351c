"""Traces that were imported beside our own: costs, rules, drift and safety look at either, or at one service."""

from __future__ import annotations

import pytest
from otlp_records import GENAI, request, span
from shells import Notebook

from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Usage


@pytest.fixture
def traffic(ws):
    """Forty runs of a prompt that went well here, and thirty calls of a service that failed."""
    ws.prompts.save("support", "user: {{ q }}")
    version = {"prompt_name": "support", "prompt_version": 1}
    for _ in range(40):
        with (
            ws.tracer.span("run", op="invoke_workflow", **version),
            ws.tracer.span("chat m", op="chat", model="m", **version) as call,
        ):
            call.usage(Usage(10, 5))
    theirs = {**GENAI, "gen_ai.prompt.name": "support", "gen_ai.prompt.version": 1}
    failed = [
        span(span_id=f"{n:016x}", traceId=f"{n:032x}", attributes=theirs, status={"code": 2})
        for n in range(1, 31)
    ]
    assert ws.traces.import_(request(*failed)).traces == 30


@pytest.mark.parametrize(
    ("source", "calls"), [(None, 70), ("here", 40), ("imported", 30), ("shop", 30), ("other", 0)]
)
def test_costs_are_those_of_a_source(ws, traffic, source, calls):
    assert ws.monitor.costs(source=source).total.calls == calls


def test_costs_by_source_name_each_service(ws, traffic):
    found = {line.name: line.calls for line in ws.monitor.costs(by="source").lines}
    assert found == {"here": 40, "shop": 30}


@pytest.mark.parametrize(
    ("filters", "state", "n"),
    [
        ({}, "alert", 70),
        ({"source": "here"}, "ok", 40),
        ({"source": "shop"}, "alert", 30),
        ({"prompt": "support"}, "alert", 70),
        ({"source": "here", "prompt": "support"}, "ok", 40),
        ({"source": "imported", "model": "gpt-4o"}, "alert", 30),
    ],
)
def test_a_rule_looks_at_a_source(ws, traffic, filters, state, n):
    (rule,) = ws.monitor.alerts.add(metric="error_rate", alert=0.1, **filters)
    assert f"source {filters['source']}" in rule.words() if "source" in filters else True
    ws.monitor.alerts.look()
    assert ws.monitor.alerts.board().entries[0].standing.state == state
    assert ws.monitor.alerts.looks(rule.name)[0]["n"] == n


def test_a_rule_on_tokens_adds_up_the_calls_of_a_source(ws, traffic):
    (rule,) = ws.monitor.alerts.add(metric="input_tokens", alert=10_000, source="here")
    ws.monitor.alerts.look()
    assert ws.monitor.alerts.looks(rule.name)[0]["value"] == 40 * 10


def test_a_baseline_is_of_a_source(ws, traffic):
    assert ws.monitor.baseline("own", source="here").n_rows == 40
    assert ws.monitor.baseline("theirs", source="shop").n_rows == 30


def test_commands_take_a_source(ws, traffic):
    notebook = Notebook(ws)
    notebook.run("%monitor cost --source here --by model -o report")
    assert [line.name for line in notebook.names["report"].lines] == ["m"]
    notebook.run("%monitor baseline own --source here -o made")
    assert notebook.names["made"].filters == {"source": "here"}
    notebook.run("%monitor spikes --source here -o spikes")
    assert "support@1" in str(notebook.names["spikes"])
    notebook.run("%monitor safety --source here -o safety")
    assert "safety" in notebook.names
    notebook.run("%monitor alerts add own --metric error_rate --alert 0.1 --source here -o rules")
    assert notebook.names["rules"][0].filters == {"source": "here"}
    with pytest.raises(OptionError, match="--source goes with a new rule"):
        notebook.run("%monitor alerts look --source here")
    notebook.close()
