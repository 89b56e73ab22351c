"""Alerts on traces of a store: what is measured, states, changes, silences, drift, faults of one rule."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from monitor_fakes import Clock, DriftReport, S, Traffic, alerts_of

from llmops_jupyter.errors import DataError, OptionError, StoreError, UnknownNameError
from llmops_jupyter.evaluation.statistics import always_valid_p
from llmops_jupyter.monitor.alerts.timelines import Timeline, thinned
from llmops_jupyter.monitor.alerts.traffic import BATCH
from llmops_jupyter.tracing.query import parse_when


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def traffic(ws, clock):
    return Traffic(ws, clock)


@pytest.fixture
def alerts(ws, clock):
    return alerts_of(ws, clock)


def one(alerts, **rule):
    """Add a rule and look at it; its entry."""
    made = alerts.add(**{"name": "r", "at_least": 10, **rule})[0]
    return alerts.look([made.name]).entries[0]


def test_each_measure_is_what_it_says(alerts, traffic, ws):
    ids = traffic.add(18, took=1.0, first=0.2, input_tokens=5, output_tokens=40, cost=0.01)
    traffic.add(1, status="error", took=2.0, first=0.4, output_tokens=8, text="")
    traffic.add(
        1, took=9.0, first=4.0, text="I'm sorry, but I can't help with that.", finish="length"
    )
    for trace_id in ids[:12]:
        ws.traces.score(trace_id, "thumb", "up" if trace_id > ids[2] else "down")
    traffic.guard(ids[0], ("injection", "deny"))
    for trace_id in ids[1:10]:
        traffic.guard(trace_id, ("injection", "allow"), ("pii", "warn"))
    wanted = {
        "error_rate": 1 / 20,
        "refusal_rate": 1 / 19,
        "empty_rate": 0.0,
        "cut_rate": 1 / 20,
        "denied_rate": 1 / 10,
        "p50_latency_s": 1.0,
        "p95_latency_s": 2.0,
        "p50_first_token_s": 0.2,
        "p95_first_token_s": 0.4,
        "tokens_per_s": 50.0,
        "cost_usd": 0.18,
        "calls": 20.0,
        "input_tokens": 90.0,
        "output_tokens": 728.0,
        "score:thumb": 9 / 12,
    }
    for metric, value in wanted.items():
        entry = one(alerts, metric=metric, alert=0.5, direction="above")
        assert entry.standing.value == pytest.approx(value), metric


def test_windows_and_filters_choose_the_traces(alerts, traffic, clock, ws):
    ws.prompts.save("ask", "{{ q }}")
    ws.prompts.save("ask", "well: {{ q }}")
    traffic.add(20, prompt_name="ask", prompt_version=1, status="error", model="a")
    clock.move(7200)
    traffic.add(20, prompt_name="ask", prompt_version=2, model="b")
    rate = {"metric": "error_rate", "alert": 0.4}
    assert one(alerts, **rate).standing.value == 0.5
    assert one(alerts, **rate, window="1h").standing.value == 0.0
    assert one(alerts, **rate, window="30 traces").standing.value == pytest.approx(1 / 3)
    assert one(alerts, **rate, prompt="ask@1").standing.value == 1.0
    assert one(alerts, **rate, model="b").standing.value == 0.0
    ws.prompts.alias("ask@1", "production")
    assert one(alerts, **rate, prompt="ask@production").standing.state == "alert"
    ws.prompts.alias("ask@2", "production")
    assert alerts.look(["r"]).entries[0].standing.state == "ok"
    with pytest.raises(UnknownNameError):
        one(alerts, **rate, prompt="ask@staging")


def test_answers_of_evaluations_are_no_traffic(alerts, traffic, ws):
    ids = traffic.add(40, status="error")
    traffic.add(40)
    with ws.store.write() as conn:
        conn.executemany(
            "INSERT INTO evaluation_outputs(key, trace_id, completion, at) VALUES (?, ?, '', ?)",
            [(trace_id, trace_id, ws.store.now()) for trace_id in ids],
        )
    entry = one(alerts, metric="error_rate", alert=0.1)
    assert (entry.standing.value, entry.standing.n) == (0.0, 40)


def test_few_traces_are_no_data_and_a_fall_of_calls_is_found(alerts, traffic):
    traffic.add(9, status="error")
    entry = one(alerts, metric="error_rate", alert=0.1)
    assert (entry.standing.state, entry.standing.value) == ("no data", None)
    assert "9 of 9 traces have a value; 10 are needed" in alerts.looks("r")[-1]["note"]
    assert one(alerts, metric="calls", alert=20, direction="below").standing.state == "alert"


def test_times_of_rows_that_were_asked_together_are_not_counted(alerts, traffic):
    traffic.add(30, output_tokens=9)
    traffic.add(60, took=50.0, first=40.0, rows=60, output_tokens=9)
    for metric in ("p95_latency_s", "p95_first_token_s", "tokens_per_s"):
        entry = one(alerts, metric=metric, alert=1_000, direction="above")
        assert (entry.standing.state, entry.standing.n) == ("ok", 30), metric
    assert one(alerts, metric="calls", alert=200).standing.value == 90


def test_an_empty_store_has_no_data(alerts):
    assert one(alerts, metric="p95_latency_s", alert=1).standing.state == "no data"
    assert one(alerts, metric="calls", alert=1, direction="below").standing.value == 0


def test_looks_and_changes_are_kept_with_the_worst_traces(alerts, traffic, clock):
    traffic.add(50)
    bad = traffic.add(3, took=30.0)
    entry = one(alerts, metric="p95_latency_s", warn=5, alert=20)
    assert entry.standing.state == "alert"
    look = alerts.looks("r")[-1]
    assert sorted(look["traces"][:3]) == sorted(bad)
    assert look["low"] is None or look["low"] <= look["value"]
    clock.move(90_000)
    traffic.add(50)
    alerts.look()
    states = [(c.before, c.state) for c in alerts.changes("r")]
    assert states == [("alert", "ok"), ("no data", "alert")]


def test_many_traces_are_read_in_batches_with_rests_between(alerts, traffic, ws):
    traffic.add(3 * BATCH + 7)
    rests = []
    alerts.add(name="r", metric="error_rate", alert=0.1)
    assert alerts.look(pause=lambda: rests.append(ws.store.writing)).entries[0].standing.n == 1507
    assert rests == [False] * 3  # nothing is locked meanwhile


def test_a_sure_rule_waits_for_evidence_and_an_unsure_one_does_not(alerts, traffic, clock):
    traffic.add(36)
    traffic.add(4, status="error")
    rule = {"metric": "error_rate", "alert": 0.05}
    assert one(alerts, **rule).standing.state == "alert"
    alerts.add(name="sure", sure=True, at_least=10, **rule)
    assert alerts.look(["sure"]).entries[0].standing.state == "ok"
    traffic.add(60, status="error", every=1)
    assert alerts.look(["sure"]).entries[0].standing.state == "alert"


@pytest.mark.parametrize("limit", [0.02, 0.1, 0.5])
def test_sure_rules_keep_their_promise_however_often_one_looks(limit):
    """The share of windows of 400 rows in which any look falsely finds a rate above what it is."""
    drawn = np.random.default_rng(7)
    trials, false_alarms, plain = 300, 0, 0
    for _ in range(trials):
        rows = (drawn.random(400) < limit).astype(float)
        false_alarms += always_valid_p(rows, limit, bounds=(0.0, 1.0)) <= 0.05
        means = np.cumsum(rows) / np.arange(1, 401)
        error = np.sqrt(limit * (1 - limit) / np.arange(21, 401, 20))
        plain += bool((means[20::20] > limit + 1.645 * error).any())
    assert false_alarms <= 24  # P(more | 5 %) < 0.01
    assert plain > 3 * max(1, false_alarms)  # what a test for one look would do


def test_a_rate_that_rises_late_is_found_soon():
    drawn = np.random.default_rng(5)
    delays = []
    for _ in range(50):
        rows = (drawn.random(3000) < np.repeat([0.01, 0.2], [2000, 1000])).astype(float)
        seen = [
            n
            for n in range(2000, 3000, 20)
            if always_valid_p(rows[:n], 0.05, bounds=(0, 1)) <= 0.05
        ]
        delays.append(seen[0] - 2000)
    assert min(delays) > 0
    assert np.median(delays) <= 120  # the mean of all rows is above 0.05 only after some 540


def test_the_p_value_at_every_look_at_its_edges():
    drawn = np.random.default_rng(3)
    rows = (drawn.random(500) < 0.3).astype(float)
    assert always_valid_p(rows, 0.2, bounds=(0, 1)) <= 0.05
    assert always_valid_p(rows, 0.3, bounds=(0, 1)) > 0.05
    assert always_valid_p(rows, 0.4, bounds=(0, 1), above=False) <= 0.05
    assert always_valid_p(rows, 0.0, bounds=(0, 1)) == 0.0  # one is enough to be above nothing
    assert always_valid_p(np.zeros(5), 0.0, bounds=(0, 1)) == 1.0
    assert always_valid_p(rows, 1.0, bounds=(0, 1)) == 1.0
    assert always_valid_p(rows, -0.1, bounds=(0, 1)) == 0.0
    assert always_valid_p(10 * rows + 5, 7, bounds=(5, 15)) == always_valid_p(
        rows, 0.2, bounds=(0, 1)
    )
    assert always_valid_p(drawn.normal(1, 1, 200), 0.5) <= 0.05
    assert always_valid_p(drawn.normal(1, 1, 19), -9) == 1.0
    assert always_valid_p(np.ones(50), 0.5) == 1.0
    with pytest.raises(OptionError):
        always_valid_p([2.0], 0.5, bounds=(0, 1))


@pytest.mark.parametrize(
    ("metric", "bad", "rule"),
    [
        ("p95_latency_s", {"took": 5.0}, {"alert": 2.0}),
        ("tokens_per_s", {"output_tokens": 1, "took": 5.0}, {"alert": 5.0}),
        ("score:quality", {}, {"alert": 0.5}),
        ("score:stars", {}, {"alert": 3.0}),
    ],
)
def test_sure_rules_of_other_measures_find_what_is_there_and_not_what_is_not(
    alerts, traffic, ws, metric, bad, rule
):
    def add(n, good):
        values = {"output_tokens": 20, "took": 0.5} if good else bad
        for trace_id in traffic.add(n, **values):
            if metric == "score:quality":
                ws.traces.score(trace_id, "quality", 0.9 if good else 0.1)
            if metric == "score:stars":
                ws.traces.score(trace_id, "stars", (4 if good else 1) + int(trace_id, 16) % 2)

    add(60, good=True)
    assert one(alerts, metric=metric, sure=True, **rule).standing.state == "ok"
    add(200, good=False)
    assert alerts.look(["r"]).entries[0].standing.state == "alert"


def test_a_fault_of_one_rule_is_said_and_the_others_are_looked_at(ws, clock, traffic):
    def check(baseline, **filters):
        raise UnknownNameError(f"There is no baseline {baseline!r}.")

    alerts = alerts_of(ws, clock, check=check)
    traffic.add(40)
    alerts.add([{"metric": "drift:gone"}, {"metric": "error_rate", "alert": 0.1}])
    looked = alerts.look()
    faulty, fine = looked.entries
    assert "There is no baseline 'gone'." in faulty.standing.error
    assert fine.standing.state == "ok"
    assert looked.exit_code() == 4
    assert "could not be looked at" in str(looked)
    assert alerts.looks("drift-gone")[-1]["found"] == "error"


def test_a_closed_store_is_no_fault_of_a_rule(ws, clock, traffic):
    alerts = alerts_of(ws, clock)
    alerts.add(metric="error_rate", alert=0.1)
    with pytest.raises(StoreError, match="closed"):
        alerts.look(pause=None, tell=lambda _: ws.store.close())


def test_drift_is_looked_at_once_a_window(ws, clock, traffic):
    asked = []

    def check(baseline, **filters):
        asked.append((baseline, filters))
        return DriftReport(len(asked) == 2)

    alerts = alerts_of(ws, clock, check=check)
    alerts.add(name="drift", metric="drift:support", window="6h", level=0.01, model="m")
    states = []
    for _ in range(8):
        states.append(alerts.look().entries[0].standing.state)
        clock.move(7200)
    assert states == ["ok"] * 3 + ["alert"] * 3 + ["ok"] * 2
    assert len(asked) == 3
    baseline, filters = asked[1]
    assert (baseline, filters["level"], filters["model"]) == ("support", 0.01, "m")
    look = alerts.looks("drift")[1]
    assert (look["note"], look["traces"]) == ("more about refunds", ["ab" * 16])


def test_a_window_of_drift_counts_the_traces_of_its_baseline(ws, clock, traffic):
    asked = []

    def check(baseline, **filters):
        asked.append(filters)
        found = DriftReport(alarm=False)
        found.can_alarm = len(asked) == 1
        return found

    kind = SimpleNamespace(kind={"prompt": "ask", "error": None})
    alerts = alerts_of(ws, clock, check=check, get=lambda _: kind)
    ws.prompts.save("ask", "user: {{ q }}")
    alerts.add(name="drift", metric="drift:support", window="10 traces")
    clock.ns += (
        999_900 - clock.ns % 1_000_000
    )  # no whole microsecond: a begin that is rounded leaves one out
    first = clock.ns - S // 10
    traffic.add(10, every=1, prompt_name="ask", prompt_version=1)
    traffic.add(40, every=1, prompt_name="other", prompt_version=1)
    assert alerts.look().entries[0].standing.state == "ok"
    assert asked[0]["prompt"] == "ask"
    assert first - 1_000 < parse_when(asked[0]["since"]) <= first
    clock.move(10)
    traffic.add(9, every=1, prompt_name="ask", prompt_version=1)
    alerts.look()
    assert len(asked) == 1
    traffic.add(1, prompt_name="ask", prompt_version=1)
    assert alerts.look().entries[0].standing.state == "no data"


def test_drift_that_is_to_be_sure_follows_a_stream_at_every_look(ws, clock):
    asked = []

    class Stream:
        rows, alarm = 0, False

        def update(self):
            self.rows += 10
            self.alarm = self.rows > 20

        def summary(self):
            return "changed since support@1"

    stream = Stream()

    def begin(baseline, **options):
        asked.append((baseline, options))
        return stream

    alerts = alerts_of(ws, clock, stream=begin)
    rule = alerts.add(name="drift", metric="drift:support", sure=True, level=0.01)[0]
    assert "at most 0.01 over all looks" in rule.promise()
    assert [alerts.look().entries[0].standing.state for _ in range(4)] == [
        "ok",
        "ok",
        "alert",
        "alert",
    ]
    assert asked[0] == ("support", {"name": "rule-drift", "level": 0.01})
    assert alerts.changes("drift", 1)[0].reason == "changed since support@1"


def test_a_spike_that_goes_on_alerts_and_one_that_ended_does_not(ws, clock):
    spike = SimpleNamespace(
        ended=False, ratio=1.7, trace_ids=["ab" * 16], sentence=lambda: "latency × 1.70"
    )
    series = SimpleNamespace(metric="latency", spikes=[spike], calls=400)
    report = SimpleNamespace(series=[series], words=lambda: ["ask has 3 calls"])
    asked = []

    def spikes(**filters):
        asked.append(filters)
        return report

    alerts = alerts_of(ws, clock, spikes=spikes)
    ws.prompts.save("ask", "{{ q }}")
    alerts.add(name="slow", metric="spike:latency", prompt="ask", window="7d")
    entry = alerts.look().entries[0]
    assert (entry.standing.state, entry.standing.value, entry.standing.n) == ("alert", 1.7, 400)
    assert asked[0]["prompt"] == "ask"
    assert alerts.looks("slow")[0]["traces"] == ["ab" * 16]
    spike.ended = True
    assert alerts.look().entries[0].standing.state == "ok"
    report.series = []
    assert alerts.look().entries[0].standing.state == "no data"
    assert alerts.looks("slow")[-1]["note"] == "ask has 3 calls"


def test_drift_without_enough_traces_is_no_data_and_tried_again(ws, clock):
    asked = []

    def check(baseline, **filters):
        asked.append(filters)
        raise DataError("The window has 3 traces; 10 are needed.")

    alerts = alerts_of(ws, clock, check=check)
    alerts.add(metric="drift:support")
    for _ in range(2):
        assert alerts.look().entries[0].standing.state == "no data"
        clock.move(60)
    assert len(asked) == 2


def test_a_new_version_goes_on_and_a_removed_rule_keeps_its_history(alerts, traffic):
    traffic.add(40, status="error")
    assert one(alerts, metric="error_rate", alert=0.1).standing.state == "alert"
    alerts.add(name="r", metric="error_rate", alert=0.2)
    assert alerts.board().entries[0].standing.state == "alert"
    alerts.remove("r")
    assert alerts.rules() == []
    assert [c.state for c in alerts.changes("r")] == ["alert"]
    with pytest.raises(UnknownNameError):
        alerts.get("r")
    with pytest.raises(UnknownNameError, match="There are no rules yet"):
        alerts.look()
    alerts.add(name="r", metric="error_rate", alert=0.2)
    assert alerts.board().entries[0].standing.state == "no data"


def test_rules_of_what_is_not_there_are_refused_and_none_is_kept(ws):
    fine = {"metric": "error_rate", "alert": 0.1}
    ws.prompts.save("ask", "{{ q }}")
    for wrong, said in (
        ({"metric": "drift:gone"}, "no baseline 'gone'"),
        ({"metric": "golden:gone"}, "no golden set 'gone'"),
        ({**fine, "name": "p", "prompt": "aks"}, "Did you mean 'ask'"),
        ({**fine, "name": "p", "prompt": "ask@7"}, "ask"),
    ):
        with pytest.raises(UnknownNameError, match=said):
            ws.monitor.alerts.add([fine, wrong])
    assert ws.monitor.alerts.rules() == []


def test_why_there_is_no_data_is_on_the_board(alerts, traffic):
    traffic.add(3)
    entry = one(alerts, metric="error_rate", alert=0.1)
    assert entry.remarks() == "3 of 3 traces have a value; 10 are needed"
    assert entry.as_dict()["note"] == entry.remarks()
    traffic.add(30)
    assert alerts.look().entries[0].remarks() == ""


def test_two_looks_at_once_are_not_two_looks_in_a_row(ws, alerts, traffic, clock):
    """One look begins, another one begins and ends, and then the first one ends: it knows nothing newer."""
    traffic.add(40)
    alerts.add(name="r", metric="error_rate", alert=0.1, at_least=10, **{"for": 2})
    alerts.look()
    traffic.add(40, status="error")
    other = alerts_of(ws, clock)

    def meanwhile(_):
        clock.move(1)
        other.look()
        clock.move(1)

    clock.move(1)
    entry = alerts.look(tell=meanwhile).entries[0]
    assert (entry.standing.state, entry.standing.pending, entry.standing.count) == (
        *("ok", "alert", 1),
    )
    assert len(alerts.looks("r")) == 2
    clock.move(1)
    assert alerts.look().entries[0].standing.state == "alert"


def test_an_interrupted_look_changes_nothing_and_the_next_one_goes_on(alerts, traffic):
    traffic.add(1200, status="error")
    alerts.add([{"name": n, "metric": "error_rate", "alert": 0.1} for n in ("a", "b")])

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alerts.look(pause=stop)
    assert alerts.looks("a") == []
    assert [e.standing.state for e in alerts.look(wait=False).entries] == ["alert", "alert"]


def test_unknown_names_are_refused_with_the_nearest(alerts):
    alerts.add(name="errors", metric="error_rate", alert=0.1)
    for call in (alerts.get, alerts.remove, alerts.silence, alerts.speak, alerts.looks):
        with pytest.raises(UnknownNameError, match="Did you mean 'errors'"):
            call("erors")
    with pytest.raises(OptionError, match="Give rules"):
        alerts.add()


def test_silences_and_acknowledgements_are_kept_with_who_and_why(alerts, traffic, clock):
    traffic.add(40, status="error")
    assert one(alerts, metric="error_rate", alert=0.1).is_loud
    alerts.silence("all", "2h", why="deploy", by="ann")
    entry = alerts.board().entries[0]
    assert not entry.is_loud
    assert "silenced by ann until" in entry.remarks()
    assert "(deploy)" in entry.remarks()
    alerts.speak("r", by="bob")
    assert alerts.board().entries[0].is_loud
    alerts.silence("r", "2h", by="ann")
    clock.move(7201)
    assert alerts.board().entries[0].is_loud
    alerts.acknowledge("r", why="known", by="cy")
    assert alerts.board().entries[0].remarks() == "known to cy: known"
    assert not alerts.active()
    assert [m.kind for m in alerts.marks("r")] == ["acknowledge", "silence", "speak", "silence"]
    clock.move(90_000)
    traffic.add(40)
    alerts.look()
    with pytest.raises(OptionError, match="no alarm to acknowledge"):
        alerts.acknowledge("r")


def test_a_silence_made_before_the_clock_went_back_does_not_last_for_days(alerts, traffic, clock):
    traffic.add(40, status="error")
    one(alerts, metric="error_rate", alert=0.1)
    alerts.silence("r", "1h")
    clock.move(-5 * 86_400)
    assert alerts.board().entries[0].is_loud


def test_results_read_as_text_and_html_and_json(alerts, traffic, ws):
    traffic.add(40, status="error")
    alerts.add(name="r", metric="error_rate", alert=0.1, note="<script>")
    looked = alerts.look()
    assert "1 rule: 1 alert" in str(looked)
    html = looked._repr_mimebundle_()["text/html"]
    assert "error_rate over 24h" in html
    assert json.dumps(looked.as_dict())
    assert looked.exit_code() == 2


def test_secrets_in_a_fault_do_not_reach_the_store(ws, clock):
    ws.redact("email")

    def check(baseline, **filters):
        raise DataError("ask ann@example.org")

    alerts = alerts_of(ws, clock, check=check)
    alerts.add(metric="drift:x")
    alerts.look()
    kept = ws.store.rows(
        "SELECT note FROM alert_looks UNION ALL SELECT standing FROM alert_standings"
    )
    assert not any("ann@example.org" in row[0] for row in kept)


def test_a_timeline_is_drawn_of_any_looks(alerts, traffic, clock):
    alerts.add(name="r", metric="error_rate", warn=0.02, alert=0.1, at_least=10)
    for bad in (0, 0, 30, 0):
        alerts.look()
        traffic.add(40)
        traffic.add(bad, status="error")
        clock.move(3600)
    rule, looks = alerts.get("r"), alerts.looks("r")
    for some in (looks, looks[:1], [], looks * 300):
        assert Timeline(rule, some)._repr_png_().startswith(b"\x89PNG")
    assert len(thinned(looks * 300, 200)) <= 200
    assert {look["state"] for look in thinned(looks * 300, 200)} >= {"alert"}
