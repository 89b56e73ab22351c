"""Prompts that run in functions: baselines, windows and streams of a prompt take them in, each by itself."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from engine_fakes import plug

import llmops_jupyter as lo
from llmops_jupyter.tracing import query


@pytest.fixture
def asked(ws):
    """Asks the prompt `ask` in a function that is traced, once for each text."""
    plug(ws)
    ws.prompts.save("ask", "system: Be brief.\nuser: {{ q }}")

    @lo.trace
    def agent(*texts):
        for text in texts:
            ws.prompts.run("ask", {"q": text}, max_tokens=4)

    return agent


def spans_of(ws, **filters):
    return [row for batch in ws.traces.runs(**filters) for row in batch]


def nested(ws, *spans):
    """Spans, each in the one before."""
    with ExitStack() as open_spans:
        for name, columns in spans:
            open_spans.enter_context(ws.tracer.span(name, **columns))


def test_a_baseline_of_a_prompt_has_its_runs_in_functions_and_those_by_themselves(ws, asked):
    for number in range(15):
        asked(f"question {number}", f"another {number}")
    for number in range(10):
        ws.prompts.run("ask", {"q": f"alone {number}"}, max_tokens=4)
    made = ws.monitor.baseline("b", prompt="ask", embedder="none")
    assert (made.n_rows, made.n_sessions) == (40, 25)  # runs of one call belong together
    assert {"question 3", "another 3", "alone 3"} <= set(made.sample.texts["input"])
    assert (made.sample.numbers["output tokens"] > 0).all()


def test_without_a_prompt_a_function_is_one_trace(ws, asked):
    asked("a", "b")
    assert [row["name"] for row in spans_of(ws)] == ["asked.<locals>.agent"]
    assert len(spans_of(ws, prompt="ask")) == 2
    assert spans_of(ws, prompt="other") == []


def test_the_outermost_of_runs_that_fit_counts_alone(ws):
    run = {"op": "invoke_workflow", "prompt_name": "ask"}
    nested(
        ws,
        ("f", {}),
        ("outer", {**run, "model": "m"}),
        ("step", {}),
        ("inner", {**run, "model": "m"}),
    )
    nested(ws, ("whole", {"session": "s"}), ("within", {**run, "session": "s"}))
    assert [row["name"] for row in spans_of(ws, prompt="ask")] == ["outer", "within"]
    assert [row["name"] for row in spans_of(ws, model="m")] == ["outer"]
    assert [row["name"] for row in spans_of(ws, session="s")] == ["whole"]


def test_what_only_a_trace_knows_is_asked_of_the_trace(ws, asked):
    asked("a")
    asked("b")
    first = ws.traces.newest(2)[1].trace_id
    ws.traces.score(first, "thumb", "up")
    for filters in ({"score": "thumb=up"}, {"name": "asked.<locals>.agent", "score": "thumb"}):
        (found,) = spans_of(ws, prompt="ask", **filters)
        assert found["trace_id"] == first
    assert len(spans_of(ws, prompt="ask", source="here", status="ok", since="1h")) == 2
    assert spans_of(ws, prompt="ask", source="imported") == []
    assert spans_of(ws, prompt="ask", until="1h") == []


def test_batches_and_the_newest_go_on_in_the_order_in_which_spans_came(ws, asked, monkeypatch):
    for number in range(4):
        asked(f"in {number}", f"too {number}")
        ws.prompts.run("ask", {"q": f"alone {number}"}, max_tokens=4)
    monkeypatch.setattr(query, "BATCH", 5)
    ids = [row["id"] for row in spans_of(ws, prompt="ask")]
    assert len(ids) == 12
    assert ids == sorted(set(ids))
    assert [row["id"] for row in spans_of(ws, prompt="ask", newest=3)] == ids[-3:]
    assert [row["id"] for row in spans_of(ws, prompt="ask", after=ids[6])] == ids[7:]


def test_rows_of_a_report_have_the_variables_of_their_own_run(ws, asked):
    for number in range(20):
        asked(f"what is {number}", f"who is {number}")
    ws.monitor.baseline("b", prompt="ask", embedder="none")
    for number in range(20):
        asked(f"write code {number}", f"sort a list {number} please")
    report = ws.monitor.check("b", calibrated=False)
    rows = ws.monitor.check("b", calibrated=False).data_rows()
    assert len({row_id for row_id, _ in rows}) == len(rows) == len(report.window) == 40
    for row_id, row in rows:
        trace, _, span = row_id.partition("/")
        assert row["trace_id"] == trace
        assert span
        assert row["q"] == row["input"]
    data = report.to_data("changed", limit=10)
    assert data.n_rows == 10
    found = [one.trace_id for one in report.traces(limit=40)]
    assert len(found) == len(set(found)) == 20


def test_a_stream_takes_a_function_in_once_and_knows_its_sessions(ws, asked):
    for number in range(30):
        asked(f"what is {number}")
    ws.monitor.baseline("b", prompt="ask", embedder="none")
    stream = ws.monitor.stream("b")
    asked("what is new", "and again")
    stream.update()
    assert (stream.rows, stream.skipped) == (1, 1)


def test_the_retrieval_of_a_run_is_its_own(ws):
    documents = "gen_ai.retrieval.documents"
    with ws.tracer.span("f"):
        for score in (0.25, 0.75):
            found = {documents: [{"cosine": score}]}
            ask = {"op": "invoke_workflow", "prompt_name": "ask"}
            nested(ws, ("ask", ask), ("search", {"op": "retrieval", "attributes": found}))
    for _ in range(30):
        with ws.tracer.span("ask", op="invoke_workflow", prompt_name="ask"):
            pass
    scores = ws.monitor.baseline("b", prompt="ask", embedder="none").sample.numbers[
        "retrieval score"
    ]
    assert list(scores[:2]) == [0.25, 0.75]


def test_runs_in_functions_are_found_by_their_index(ws):
    for filters in ({"prompt": "ask"}, {"session": "s", "status": "ok"}):
        inner, given = ws.traces.fitting(filters)[1]
        sql = f"EXPLAIN QUERY PLAN SELECT s.* FROM spans s WHERE s.id > ? AND {inner} ORDER BY s.id"
        plan = " ".join(row["detail"] for row in ws.store.rows(sql, (0, *given)))
        assert "spans_inner" in plan
        assert "SCAN s " not in plan


def test_answers_of_evaluations_are_no_traffic_also_where_they_failed(ws, asked):
    for number in range(30):
        asked(f"what is {number}")
    rows = [{"q": f"row {number}", "expected": "x"} for number in range(5)]
    ws.evaluation.run("ask", rows, "exact", max_tokens=4)

    def broken(row):
        ws.prompts.run("ask", row, max_tokens=4)
        raise ValueError("it cannot be done")

    ws.evaluation.run(broken, rows, "exact")
    assert len(spans_of(ws, prompt="ask")) == 40
    assert len(spans_of(ws, prompt="ask", evaluations=False)) == 30
    made = ws.monitor.baseline("b", prompt="ask", embedder="none")
    assert made.n_rows == 30
