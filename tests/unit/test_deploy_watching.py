"""Canaries: taken back when they are worse, promoted when they are not, kept while nobody can tell."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from deploy_fakes import plugged, project
from engine_fakes import FakeEngine

import llmops_jupyter as lo
from llmops_jupyter.deploy import watching
from llmops_jupyter.deploy.traffic import of_calls, stats
from llmops_jupyter.deploy.watching import DEFAULT, Rule, Rules, Stats, decide, read_rules
from llmops_jupyter.engine.protocol import Finished
from llmops_jupyter.errors import DataError, DeployError


def flips(share, n, seed=0):
    """Ones of which so many are there on average."""
    draw = random.Random(seed)
    return [float(draw.random() < share) for _ in range(n)]


def times(mean, n, seed=0):
    draw = random.Random(seed)
    return [draw.lognormvariate(0, 0.3) * mean for _ in range(n)]


def did(errors, n, seed=0, **more):
    found = flips(errors, n, seed)
    return Stats(errors=found, denials=[0.0] * n, latencies=[1.0] * n, **more)


def test_a_canary_that_fails_is_taken_back_after_few_units_with_metric_interval_and_units():
    decision = decide(did(0.0, 400), did(1.0, 30, 1))
    assert decision.action == "rollback"
    assert decision.reason.startswith("error_rate worse by 0.05: 1 against 0, difference 0.")
    assert decision.reason.endswith("over 30 units of the canary")
    assert decision.findings[0].low > 0.05


def test_a_canary_that_is_as_good_is_kept_until_that_is_sure_and_then_promoted():
    few = decide(did(0.01, 500), did(0.01, 40, 1))
    assert (few.action, few.reason) == ("keep", "40 of 100 units of the canary so far")
    unsure = decide(did(0.01, 500), did(0.01, 120, 1))
    assert unsure.action == "keep"
    assert unsure.reason.startswith("not sure yet: error_rate")
    sure = decide(did(0.01, 6_000), did(0.01, 3_000, 1))
    assert sure.action == "promote"
    assert "holds to all 2 rules over 3000 units" in sure.reason


def test_a_person_decides_where_that_is_wished():
    rules = Rules(DEFAULT.rules, promote=False)
    decision = decide(did(0.01, 6_000), did(0.01, 3_000, 1), rules)
    assert decision.action == "keep"
    assert "a person promotes it" in decision.reason
    assert decide(did(0.0, 400), did(1.0, 30), rules).action == "rollback"


def test_without_traffic_nothing_is_decided():
    decision = decide(Stats(), Stats())
    assert decision.action == "keep"
    assert all(f.outcome == "open" for f in decision.findings)
    assert "no unit has a value yet" in decision.findings[0].sentence()
    assert decide(Stats(), did(1.0, 50)).action == "keep"


def test_latency_denials_and_quality_take_back_too():
    live = Stats([0.0] * 500, [0.0] * 500, times(1, 500), {"helpful": flips(0.9, 500)})
    slow = Stats([0.0] * 400, [0.0] * 400, times(3, 400, 1), {"helpful": flips(0.9, 400, 1)})
    strict = Stats([0.0] * 400, flips(0.5, 400), times(1, 400, 1), {"helpful": flips(0.9, 400, 1)})
    worse = Stats([0.0] * 400, [0.0] * 400, times(1, 400, 1), {"helpful": flips(0.4, 400, 1)})
    rules = read_rules(
        [
            {"metric": "latency", "worse_by": 0.5},
            {"metric": "denial_rate", "worse_by": 0.1},
            {"metric": "score:helpful", "worse_by": 0.1},
            {"metric": "slower_than=5", "at_most": 0.3},
        ]
    )
    for canary, metric in ((slow, "latency"), (strict, "denial_rate"), (worse, "score:helpful")):
        decision = decide(live, canary, rules)
        assert decision.action == "rollback"
        assert decision.reason.startswith(metric)
    assert decide(live, live, rules).action == "keep"


def test_bounds_of_the_canary_alone():
    rules = read_rules(
        [{"metric": "score:ok", "at_least": 0.5}, {"metric": "error_rate", "at_most": 0.2}]
    )
    good = Stats([0.0] * 300, [0.0] * 300, [1.0] * 300, {"ok": flips(0.9, 300)})
    bad = Stats([0.0] * 300, [0.0] * 300, [1.0] * 300, {"ok": flips(0.1, 300)})
    assert decide(Stats(), good, rules).action == "promote"
    assert decide(Stats(), bad, rules).action == "rollback"


def test_looking_all_the_time_takes_an_equal_canary_back_no_more_often_than_was_said():
    rules = Rules((Rule("error_rate", "worse_by", 0.0),), confidence=0.9)
    wrong = 0
    for seed in range(40):
        old, new = flips(0.1, 400, seed), flips(0.1, 400, seed + 1_000)
        wrong += any(
            decide(Stats(old[:n]), Stats(new[:n]), rules).action == "rollback"
            for n in range(25, 401, 25)
        )
    assert wrong <= 4


def test_calls_of_a_unit_count_once():
    found = of_calls(
        [
            {"unit": "ann", "error": True, "denied": False, "seconds": 1.0},
            {"unit": "bo", "error": False, "denied": True, "seconds": 5.0, "scores": {"ok": 1}},
            {"unit": "ann", "error": False, "denied": False, "seconds": 3.0},
        ]
    )
    assert found.units == 2
    assert list(found.errors) == [0.5, 0.0]
    assert list(found.denials) == [0.0, 1.0]
    assert list(found.latencies) == [2.0, 5.0]
    assert found.scores == {"ok": [1.0]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("fast", "write a list"),
        ([], "rules is a list"),
        ([{"metric": "eror_rate", "worse_by": 0.1}], "Did you mean 'error_rate'"),
        ([{"metric": "error_rate"}], "has one of"),
        ([{"metric": "error_rate", "worse_by": 0.1, "at_most": 0.2}], "has one of"),
        ([{"metric": "error_rate", "worse_by": 5}], "5 % is 0.05"),
        ([{"metric": "error_rate", "worse_by": "5%"}], "with a number"),
        ([{"metric": "error_rate", "at_least": 0.1}], "better when it is lower"),
        ([{"metric": "score:x", "at_most": 0.1}], "better when it is higher"),
        ([{"metric": "slower_than=soon", "at_most": 0.1}], "with seconds"),
        ([{"metric": "error_rate", "worse": 0.1}], "Did you mean 'worse_by'"),
        ({"rules": None, "unit": 3}, "Did you mean 'units'"),
        ({"units": 0}, "whole number from 1"),
        ({"confidence": 95}, "between 0.5 and 1"),
        ({"promote": "yes"}, "true or false"),
        ([7], "names a metric"),
    ],
)
def test_rules_that_cannot_be_used_say_why(given, said):
    with pytest.raises(DataError, match=said):
        read_rules(given)


def test_rules_survive_being_kept():
    rules = read_rules({"rules": [{"metric": "slower_than=2", "at_most": 0.1}], "units": 7})
    assert read_rules(rules.as_dict()) == rules
    assert read_rules(None) is DEFAULT
    assert read_rules(rules) is rules


@pytest.fixture
def ws(tmp_path):
    with project(tmp_path / "project") as workspace:
        for n in range(2):
            workspace.deploy.build("support", model="tiny", temperature=n / 10)
        workspace.deploy.promote("support@1")
        yield workspace


RULES = {"rules": [{"metric": "error_rate", "worse_by": 0.2}], "units": 20}


def serve(workspace, release, n, text="hello"):
    """Runs that are of a release."""
    workspace.configure(deployment=f"support@{release.short}")
    for i in range(n):
        with suppress(lo.LLMOpsError):
            workspace.prompts.run("support", {"q": f"{text} {i}"}, model="tiny")
    workspace.configure(deployment="")


def test_the_traces_of_both_releases_decide(ws):
    now = ws.deploy.promote("support@2", canary=0.5, rules=RULES)
    assert ws.deploy.check("support").action == "keep"
    serve(ws, now.release, 60)
    serve(ws, now.canary, 40, "bad")
    assert stats(ws.store, now.canary).units == 40
    seen = ws.deploy.check("support", act=False)
    assert seen.action == "rollback"
    assert ws.deploy.status("support").canary is not None
    assert ws.deploy.check("support").action == "rollback"
    after = ws.deploy.status("support")
    assert (after.canary, after.release.number) == (None, 1)
    entry = ws.deploy.history("support")[0]
    assert entry.action == "rollback"
    assert entry.evidence["findings"][0]["n"] == 40
    assert entry.reason.startswith("error_rate worse by 0.2")
    with pytest.raises(DeployError, match="no canary to look at"):
        ws.deploy.check("support")


def test_a_good_canary_is_promoted_by_its_traces(ws):
    now = ws.deploy.promote("support@2", canary=0.5, rules=RULES)
    serve(ws, now.release, 80)
    serve(ws, now.canary, 80)
    assert ws.deploy.check("support").action == "promote"
    assert ws.deploy.status("support").release.number == 2


def test_traces_from_before_the_canary_do_not_count_and_a_wider_share_keeps_those_since(ws):
    serve(ws, ws.deploy.get("support@2"), 5)
    ws.deploy.promote("support@2", canary=0.1, rules=RULES)
    now = ws.deploy.status("support")
    serve(ws, now.canary, 3)
    ws.deploy.promote("support@2", canary=0.5, rules=RULES)
    serve(ws, now.canary, 2)
    decision = ws.deploy.check("support", act=False)
    assert decision.reason == "5 of 20 units of the canary so far"


def test_scores_of_traces_are_quality(ws):
    now = ws.deploy.promote("support@2", canary=0.5, rules=RULES)
    serve(ws, now.canary, 2)
    for trace, value in zip(ws.traces.newest(2), (1.0, 0.0), strict=True):
        ws.traces.score(trace.trace_id, "helpful", value)
    assert sorted(stats(ws.store, now.canary).scores["helpful"]) == [0.0, 1.0]


def test_denied_answers_count_as_denials(ws):
    now = ws.deploy.promote("support@2", canary=0.5, rules=RULES)
    plugged(ws)
    ws.guard.add(
        "no-hello", "name: no-hello\ninput:\n  - {check: words, banned: [hello], action: deny}\n"
    )
    ws.configure(deployment=f"support@{now.canary.short}")
    ws.prompts.run("support", {"q": "hello"}, model="tiny", guard="no-hello")
    assert list(stats(ws.store, now.canary).denials) == [1.0]


def test_an_answer_that_came_too_late_is_a_failed_call(ws):
    class Late(FakeEngine):
        def generate(self, requests):
            for event in super().generate(requests):
                late = isinstance(event, Finished)
                yield replace(event, finish_reason="deadline") if late else event

    now = ws.deploy.promote("support@2", canary=0.5, rules=RULES)
    ws.engine.engine = lambda name=None: Late()
    serve(ws, now.canary, 3)
    assert list(stats(ws.store, now.canary).errors) == [1.0, 1.0, 1.0]


def test_values_beyond_the_most_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(watching, "MOST", 50)
    assert decide(did(0.0, 400), did(1.0, 400)).findings[0].n == 50
