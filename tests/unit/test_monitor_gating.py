"""From an alarm to a gate: variables as columns, what is refused before anything is kept, and the demands."""

from __future__ import annotations

import pytest
from engine_fakes import FakeEngine, plug
from monitor_rows import rows, trace

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.records import Message


def drifted(ws, template, made, count=150):
    """A report of traces of a prompt that drifted; `made` makes a row's variables."""
    ws.prompts.save("support", template)
    for place, row in enumerate([*rows(count), *rows(40, seed=1, new=0.6)]):
        if place == count:
            ws.monitor.baseline("usual", prompt="support", embedder="none")
        root = ws.tracer.span(
            "prompt support@1",
            op="invoke_workflow",
            attributes={"llmops.prompt.variables": made(row)},
            messages=(Message("user", "Customer"),),
            prompt_name="support",
            prompt_version=1,
        ).begin()
        root.output(row["output"])
        root.timed(1.0)
        root.finish()
    report = ws.monitor.check("usual", calibrated=False)
    assert report.alarm
    return report


def test_a_gate_from_an_alarm_runs_the_prompt_with_its_own_variables(ws):
    report = drifted(
        ws, "Customer {{ name }}: {{ question }}", lambda r: {"question": r["input"], "name": "Ann"}
    )
    suite = report.gate("no-drift", limit=30)
    engine = plug(ws, FakeEngine(lambda text: "It is on its way."))
    outcome = ws.evaluation.gate("no-drift")
    assert outcome.outcome == "passed", str(outcome)
    assert len(engine.requests) == 30
    asked = {request.messages[-1].content for request in engine.requests}
    given = {row["question"] for _, row in ws.data.get(suite.data).items()}
    assert asked == {f"Customer Ann: {question}" for question in given}
    plug(ws, FakeEngine(lambda text: "I'm sorry, but I can't help with that."))
    assert ws.evaluation.gate("no-drift").outcome == "passed"  # recorded answers
    ws.prompts.save("support", "Now {{ name }}: {{ question }}")
    assert ws.evaluation.gate("no-drift").outcome == "failed"


def test_a_variable_has_its_name_and_a_feature_of_that_name_gives_way(ws):
    report = drifted(ws, "{{ output }} {{ input }}", lambda r: {"input": r["input"], "output": "x"})
    data = report.to_data("strange", limit=5)
    row = next(row for _, row in data.items())
    assert row["output"] == "x"
    assert row["trace output"].startswith(("It is on", "I'm sorry"))
    assert row["input"] != row["trace input"]
    assert row["trace input"] == f"{row['input']}\nx"


def test_a_variable_called_input_is_whole(ws):
    long = "x" * 5_000
    report = drifted(ws, "{{ input }}", lambda r: {"input": f"{r['input']} {long}"})
    row = next(row for _, row in report.to_data("strange", limit=1).items())
    assert row["input"].endswith(long)
    assert "trace input" not in row


def test_a_gate_whose_rows_lack_a_variable_is_refused_and_nothing_is_kept(ws):
    report = drifted(ws, "{{ question }}", lambda r: {"question": r["input"]})
    ws.prompts.save("support", "{{ question }} {{ tone }}")
    ws.data.add("other", [{"text": "a"}, {"text": "b"}])
    for options in ({}, {"variant": "support@2"}):
        with pytest.raises(
            OptionError, match=r"support@2 needs \{\{ tone \}\}.* columns .*question"
        ):
            report.gate("no-drift", **options)
    with pytest.raises(OptionError, match=r"needs \{\{ question \}\}.* only the columns text"):
        report.gate("no-drift", variant="support@1", data="other")
    with pytest.raises(OptionError, match="no column 'answr'"):
        report.gate("no-drift", variant="column=answr")
    with pytest.raises(UnknownNameError, match="no prompt 'suport'"):
        report.gate("no-drift", variant="suport")
    with pytest.raises(UnknownNameError, match="'no-such'"):
        report.gate("no-drift", variant="support@1", data="no-such@1")
    with pytest.raises(DataError, match="at_least"):
        report.gate("no-drift", variant="support@1", gates=[{"metric": "length"}])
    with pytest.raises(OptionError, match="name of a suite"):
        report.gate("No Drift", variant="support@1")
    assert [one.name for one in ws.data.list()] == ["other"]
    assert ws.evaluation.suites() == []
    assert report.gate("no-drift", variant="support@1").variant.prompt == "support@1"


def test_variables_with_a_default_may_be_absent(ws):
    report = drifted(ws, "{{ question }}", lambda r: {"question": r["input"]})
    ws.prompts.save("support", "{{ question }} {{ tone | default('kind') }}")
    assert report.gate("no-drift").data == "no-drift@1"


def test_rows_of_other_prompts_are_left_out_of_the_gate(ws):
    ws.prompts.save("ask", "{{ q }}")
    for row in rows(60):
        trace(ws, row)
    ws.monitor.baseline("usual", embedder="none")
    for row in rows(20, seed=1, new=1.0):
        trace(ws, row)
    for row in rows(20, seed=2, new=1.0):
        root = ws.tracer.span(
            "ask", op="invoke_workflow", attributes={"llmops.prompt.variables": {"q": row["input"]}}
        ).begin()
        root.output(row["output"])
        root.timed(1.0)
        root.finish()
    suite = ws.monitor.check("usual", calibrated=False).gate("no-drift", variant="ask")
    assert ws.data.get(suite.data).n_rows == 20


def test_refusals_are_bounded_by_what_the_baseline_and_the_rows_can_show():
    def limit(ws, count, refusing, name, rows_of_gate=100):
        ws.monitor.baseline(name, rows(count, refusing=refusing), embedder="none")
        window = rows(rows_of_gate, seed=1, new=0.5, refusing=refusing)
        report = ws.monitor.check(name, window, calibrated=False)
        suite = report.gate(name, variant="column=output", limit=rows_of_gate)
        (gate,) = [g for g in suite.gates if g.metric == "refusal"]
        return gate.limit, ws.evaluation.gate(name).outcome

    with lo.open(":memory:") as ws:
        # None of 600: the baseline's bound is 0.6 %, and 100 rows without a refusal show up to 3.7 %.
        assert limit(ws, 600, 0.0, "never") == (0.037, "passed")
        # None of 40 leaves up to 8.8 % possible, whatever the rows show.
        assert limit(ws, 40, 0.0, "few") == (0.089, "passed")
        most, outcome = limit(ws, 600, 0.2, "often")
        assert 0.25 < most < 0.4
        assert outcome in ("passed", "undecided")


def test_what_changed_without_a_demand_is_said_in_the_suite():
    with lo.open(":memory:") as ws:
        ws.monitor.baseline("usual", rows(300), embedder="none")
        window = rows(100, seed=1, new=0.4, slower=3.0)
        report = ws.monitor.check("usual", window, calibrated=False)
        assert {"latency", "input"} <= {test.feature for test in report.changed}
        suite = report.gate("no-drift", variant="column=output")
        (line,) = [one for one in suite.text.splitlines() if "without a demand" in one]
        assert "latency" in line
        assert "input" in line
        with pytest.raises(OptionError, match="variant"):
            report.gate("another")
        own = report.gate(
            *("own",), variant="column=output", gates=[{"metric": "length", "at_least": 1}]
        )
        assert [gate.metric for gate in own.gates] == ["length"]
        assert "without a demand" not in own.text


def test_where_no_demand_follows_what_changed_is_named(ws):
    given = [{"speed": float(i % 7), "input": f"word {i % 9}"} for i in range(60)]
    ws.monitor.baseline("usual", given, embedder="none")
    fast = [{**row, "speed": row["speed"] + 50} for row in given]
    report = ws.monitor.check("usual", fast, calibrated=False)
    with pytest.raises(OptionError, match=r"No demand follows.*speed.*gates="):
        report.gate("no-drift", variant="column=input")
    assert ws.data.list() == []
