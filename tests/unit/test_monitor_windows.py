"""Which spans rules look at: prompts in functions, calls of models, windows of so many traces, what is no traffic."""

from __future__ import annotations

import json

import pytest
from engine_fakes import plug
from monitor_fakes import Clock, DriftReport, Traffic, alerts_of

import llmops_jupyter as lo


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def traffic(ws, clock):
    ws.prompts.save("ask", "{{ q }}")
    ws.prompts.save("other", "other: {{ q }}")
    return Traffic(ws, clock)


@pytest.fixture
def alerts(ws, clock):
    return alerts_of(ws, clock)


def value(alerts, **rule):
    """What a rule comes to."""
    made = alerts.add(**{"name": "r", "at_least": 1, "alert": 1e9, **rule})[0]
    return alerts.look([made.name]).entries[0].standing


def evaluated(ws, ids):
    with ws.store.write() as conn:
        conn.executemany(
            "INSERT INTO evaluation_outputs(key, trace_id, completion, at) VALUES (?, ?, '', ?)",
            [(trace_id, trace_id, ws.store.now()) for trace_id in ids],
        )


ASK = {"prompt_name": "ask", "prompt_version": 1, "model": "m", "session": "s"}


def test_a_prompt_in_a_function_is_found_by_its_name_model_and_session(alerts, traffic):
    traffic.add(
        3,
        **ASK,
        within="agent",
        runs=2,
        status="error",
        output_tokens=5,
        notebook="/home/ann/a.ipynb",
    )
    traffic.add(6, **ASK, output_tokens=5)
    traffic.add(6, prompt_name="other", prompt_version=1, output_tokens=7)
    for filters in ({"prompt": "ask"}, {"prompt": "ask@1"}, {"model": "m"}, {"session": "s"}):
        rate = value(alerts, metric="error_rate", alert=0.9, **filters)
        assert (rate.value, rate.n) == (0.5, 12), filters
        assert value(alerts, metric="output_tokens", **filters).value == 60, filters
        assert value(alerts, metric="calls", **filters).value == 12, filters
    assert value(alerts, metric="p95_latency_s", prompt="ask", notebook="a.ipynb").n == 6
    assert value(alerts, metric="output_tokens", notebook="a.ipynb").value == 30
    # Without a filter a function is one trace, and all calls in it are summed.
    assert value(alerts, metric="calls").value == 15
    assert value(alerts, metric="output_tokens").value == 102
    assert value(alerts, metric="tokens_per_s", direction="above").n == 18


def test_a_prompt_that_runs_itself_through_a_tool_counts_once(alerts, traffic, ws):
    plug(ws)
    with lo.span("tool around") as span:
        span.output("x")
    traffic.add(1, **ASK, output_tokens=5)
    outer = ws.store.row("SELECT * FROM spans WHERE prompt_name = 'ask' AND parent_id IS NULL")
    with ws.store.write() as conn:
        tool = traffic._insert(
            conn,
            {"trace_id": outer["trace_id"], "parent_id": outer["span_id"], "op": "execute_tool"},
        )
        inner = {"trace_id": outer["trace_id"], "parent_id": tool["span_id"]}
        traffic._insert(conn, {**ASK, **inner, "output_tokens": 4}, calls=True)
    assert value(alerts, metric="calls", prompt="ask").value == 1
    assert value(alerts, metric="output_tokens", prompt="ask").value == 9


def test_real_functions_with_real_prompts_have_their_tokens(ws, clock, alerts, traffic):
    plug(ws)

    @lo.trace
    def agent(q):
        return [ws.prompts.run("ask", {"q": q}) for _ in range(2)]

    for _ in range(3):
        agent("hi")
    clock.ns = Clock().ns
    own = ws.store.row("SELECT total(output_tokens) FROM spans WHERE op = 'chat'")[0]
    assert own > 0
    assert value(alerts, metric="output_tokens", prompt="ask").value == own
    assert value(alerts, metric="output_tokens").value == own
    assert value(alerts, metric="error_rate", alert=0.5, prompt="ask").n == 6
    assert value(alerts, metric="error_rate", alert=0.5).n == 3


@pytest.mark.parametrize("prompt", [None, "ask"])
def test_answers_of_evaluations_push_nothing_out_of_a_window(alerts, traffic, ws, prompt):
    traffic.add(50, **ASK, status="error", output_tokens=1)
    evaluated(ws, traffic.add(60, **ASK, output_tokens=100))
    given = {"window": "40 traces", "prompt": prompt}
    rate = value(alerts, metric="error_rate", alert=0.5, **given)
    assert (rate.state, rate.n) == ("alert", 40)
    assert value(alerts, metric="output_tokens", **given).value == 40


def test_rows_of_a_batch_push_no_times_out_of_a_window(alerts, traffic):
    traffic.add(40, took=5.0)
    traffic.add(60, took=50.0, rows=60)
    assert value(alerts, metric="p95_latency_s", window="40 traces").n == 40


def test_a_window_of_traces_sums_the_calls_in_them(alerts, traffic):
    traffic.add(5, **ASK, output_tokens=100)
    traffic.add(5, **ASK, within="agent", runs=2, output_tokens=1)
    assert value(alerts, metric="output_tokens", window="5 traces").value == 10
    assert value(alerts, metric="output_tokens", window="5 traces", prompt="ask").value == 5
    assert value(alerts, metric="output_tokens", window="6 traces").value == 110


def test_windows_of_drift_are_of_traffic_alone(ws, clock, traffic):
    asked = []

    def check(baseline, **filters):
        asked.append(filters["since"].timestamp())
        return DriftReport(alarm=False)

    alerts = alerts_of(ws, clock, check=check)
    alerts.add(metric="drift:support", window="20 traces")
    traffic.add(30, every=1)
    begin = clock.ns / 1e9 - 20.2
    evaluated(ws, traffic.add(40, every=1))
    alerts.look()
    assert asked[-1] == pytest.approx(begin, abs=0.2)
    evaluated(ws, traffic.add(40, every=1))
    alerts.look()
    assert len(asked) == 1  # nothing new came
    traffic.add(21, every=1)
    alerts.look()
    assert len(asked) == 2


def test_dollars_of_models_on_this_machine_are_what_the_user_says(
    alerts, traffic, monkeypatch, tmp_path
):
    here = {**ASK, "provider": "llama.cpp"}
    traffic.add(4, **here, took=3600.0, busy_s=1800.0, output_tokens=5)
    monkeypatch.setenv("LLMOPS_PRICES", str(tmp_path / "prices.json"))
    (tmp_path / "prices.json").write_text(json.dumps({"date": "2026-11-01", "local": {}}))
    found = value(alerts, metric="cost_usd")
    assert (found.state, found.value) == ("no data", None)
    said = alerts.looks("r")[-1]["note"]
    assert (
        said
        == "nothing says what all 4 calls cost; say watts and prices in prices.json (docs: cost)"
    )
    local = {"dollars_per_hour": 2.0, "watts": 1000, "dollars_per_kwh": 0.5}
    (tmp_path / "own.json").write_text(json.dumps({"date": "2026-11-01", "local": local}))
    monkeypatch.setenv("LLMOPS_PRICES", str(tmp_path / "own.json"))
    assert value(alerts, metric="cost_usd").value == pytest.approx(4 * (1.0 + 0.25))
    traffic.add(2, **{**ASK, "provider": "openai"}, output_tokens=5)
    traffic.add(1, **{**ASK, "provider": "openai"}, output_tokens=5, cost=0.5)
    assert value(alerts, metric="cost_usd").value == pytest.approx(5.5)
    assert "what 2 of 7 calls cost" in alerts.looks("r")[-1]["note"]


def test_dollars_are_those_that_costs_show(ws, traffic, clock, alerts, monkeypatch, tmp_path):
    local = {"dollars_per_hour": 2.0, "watts": 1000, "dollars_per_kwh": 0.5}
    (tmp_path / "own.json").write_text(json.dumps({"date": "2026-11-01", "local": local}))
    monkeypatch.setenv("LLMOPS_PRICES", str(tmp_path / "own.json"))
    here = {**ASK, "provider": "llama.cpp", "output_tokens": 5}
    traffic.add(4, **here, took=36.0, busy_s=18.0)
    traffic.add(4, **here, took=36.0, within="agent")
    traffic.add(2, **{**ASK, "provider": "openai"}, output_tokens=5, cost=0.5)
    shown = ws.monitor.costs().total.figures["dollars"].value
    assert value(alerts, metric="cost_usd").value == pytest.approx(shown)


def test_sums_of_nothing_are_no_data(alerts, traffic):
    assert value(alerts, metric="output_tokens").state == "no data"
    traffic.add(3)
    assert value(alerts, metric="output_tokens").state == "no data"
    assert "0 calls of models; 1 are needed" in alerts.looks("r")[-1]["note"]


def test_safety_finds_prompts_in_functions(ws, traffic, clock):
    ids = traffic.add(3, **ASK, within="agent")
    traffic.guard(ids[0], ("injection", "deny"))
    found = ws.monitor.safety("24h", prompt="ask")
    assert (found.traces, found.unguarded) == (1, 2)
