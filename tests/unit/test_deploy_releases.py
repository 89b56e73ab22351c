"""Releases: promoted, tried on a share, rolled back; one winner of two; a log that nobody rewrites."""

from __future__ import annotations

import sqlite3
import subprocess

import pytest
from deploy_fakes import plugged, project, python

import llmops_jupyter as lo
from llmops_jupyter.deploy import promoting, releases
from llmops_jupyter.deploy.actors import Actor, actor
from llmops_jupyter.deploy.promoting import Move
from llmops_jupyter.errors import DeployError, OptionError, UnknownNameError
from llmops_jupyter.tracing import Provenance

ME = Actor("ann", "here")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


def builds(workspace, count):
    """Releases of one deployment that differ in their temperature."""
    return [
        workspace.deploy.build("support", model="tiny", temperature=n / 10) for n in range(count)
    ]


def slots(workspace):
    now = workspace.deploy.status("support")
    return {slot: one and one.number for slot, one in now.slots().items()}


def test_nothing_is_live_before_the_first_promotion(ws):
    builds(ws, 1)
    now = releases.live(ws.store, "support")
    assert (now.release, now.canary, now.weight, now.changed) == (None, None, 0.0, 0)
    with pytest.raises(DeployError, match="Nothing of 'support' is live"):
        now.release_of("ann")
    assert releases.live(ws.store, "never-heard-of").release is None


def test_promotions_and_one_step_back(ws):
    builds(ws, 3)
    for number in (1, 2, 3):
        now = ws.deploy.promote(f"support@{number}")
        assert now.release.number == number
    assert ws.deploy.rollback("support").release.number == 2
    assert ws.deploy.rollback("support").release.number == 1
    with pytest.raises(DeployError, match="nothing to roll back to"):
        ws.deploy.rollback("support")
    assert ws.deploy.promote("support@3").release.number == 3
    assert ws.deploy.rollback("support").release.number == 1
    assert ws.deploy.status("support").changed == 7


def test_a_staged_release_is_the_one_that_is_promoted_next(ws):
    builds(ws, 3)
    ws.deploy.promote("support@1")
    ws.deploy.stage("support@2")
    assert slots(ws) == {"live": 1, "staged": 2, "canary": None}
    ws.deploy.promote("support")
    assert slots(ws) == {"live": 2, "staged": None, "canary": None}
    ws.deploy.promote("support")
    assert slots(ws)["live"] == 3


def test_the_same_release_is_not_promoted_twice(ws):
    builds(ws, 1)
    ws.deploy.promote("support")
    with pytest.raises(DeployError, match="live already"):
        ws.deploy.promote("support@1")
    assert len(ws.deploy.history("support")) == 1


def test_a_unit_is_served_by_the_same_release_each_time(ws):
    builds(ws, 2)
    ws.deploy.promote("support@1")
    now = ws.deploy.promote("support@2", canary=0.2)
    users = [f"user-{n}" for n in range(2_000)]
    first = {user for user in users if now.release_of(user).number == 2}
    assert 300 < len(first) < 500
    same = releases.live(ws.store, "support")
    assert first == {user for user in users if same.is_canary(user)}
    wider = ws.deploy.promote("support@2", canary=0.5)
    assert first <= {user for user in users if wider.is_canary(user)}
    ws.deploy.rollback("support", canary=True)
    other = ws.deploy.promote("support@2", canary=0.2)
    assert first != {user for user in users if other.is_canary(user)}
    assert now.unit_hash("ann") != "ann"


def test_a_canary_ends_when_it_or_another_release_is_promoted_or_all_is_rolled_back(ws):
    builds(ws, 3)
    ws.deploy.promote("support@1")
    ws.deploy.promote("support@2", canary=0.1)
    assert slots(ws) == {"live": 1, "staged": None, "canary": 2}
    ws.deploy.promote("support@2")
    assert slots(ws) == {"live": 2, "staged": None, "canary": None}
    ws.deploy.promote("support@3", canary=0.1)
    ws.deploy.rollback("support")
    assert slots(ws) == {"live": 1, "staged": None, "canary": None}
    ws.deploy.promote("support@3", canary=0.1)
    ws.deploy.rollback("support", canary=True)
    assert slots(ws) == {"live": 1, "staged": None, "canary": None}
    with pytest.raises(DeployError, match="no canary"):
        ws.deploy.rollback("support", canary=True)
    actions = [(e.action, e.slot) for e in ws.deploy.history("support")]
    assert actions[0] == ("rollback", "canary")
    assert ("end canary", "canary") in actions


def test_a_canary_needs_a_live_release_and_a_share(ws):
    builds(ws, 2)
    with pytest.raises(DeployError, match="nothing to be compared with"):
        ws.deploy.promote("support@2", canary=0.1)
    ws.deploy.promote("support@1")
    for share in (0, 1, 1.5, -0.1, float("nan"), True):
        with pytest.raises(DeployError, match="share of the units"):
            ws.deploy.promote("support@2", canary=share)
    with pytest.raises(DeployError, match="cannot be a canary"):
        ws.deploy.promote("support@1", canary=0.1)
    assert slots(ws)["canary"] is None


def test_of_two_promotions_that_looked_at_the_same_moment_the_second_gets_an_error(ws):
    builds(ws, 3)
    ws.deploy.promote("support@1")
    seen = ws.deploy.status("support").changed
    promoting.promote(ws.store, "support", 2, Move(ME, expected=seen))
    with pytest.raises(
        DeployError, match=r"somebody else meanwhile: ann@here did 'promote' with support@2"
    ):
        promoting.promote(ws.store, "support", 3, Move(ME, expected=seen))
    assert slots(ws)["live"] == 2
    assert len(ws.deploy.history("support")) == 2


def test_expected_names_the_release_that_one_believes_to_be_live(ws):
    builds(ws, 3)
    ws.deploy.promote("support@1", expected="")
    with pytest.raises(DeployError, match="support@1 is live, not nothing"):
        ws.deploy.promote("support@2", expected="")
    ws.deploy.promote("support@2", expected="support@1")
    with pytest.raises(DeployError, match="support@2 is live, not support@1"):
        ws.deploy.promote("support@3", expected="support@1")
    with pytest.raises(DeployError):
        ws.deploy.rollback("support", expected="support@1")
    assert slots(ws)["live"] == 2


RACE = """
import llmops_jupyter as lo
from llmops_jupyter.errors import DeployError
with lo.open({store!r}) as ws:
    real = ws.deploy.open
    def slowly(reference, **more):
        bundle = real(reference, **more)
        print("looked", flush=True)
        input()
        return bundle
    ws.deploy.open = slowly
    try:
        print("won", ws.deploy.promote({release!r}).release.ref, flush=True)
    except DeployError as e:
        print("lost", e, flush=True)
"""


def test_two_processes_that_promote_at_once_have_one_winner(ws):
    builds(ws, 3)
    ws.deploy.promote("support@1")
    store = str(ws.path)
    racers = [
        subprocess.Popen(
            python(RACE.format(store=store, release=f"support@{n}")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in (2, 3)
    ]
    for racer in racers:
        assert racer.stdout.readline().strip() == "looked"
    said = [racer.communicate("\n")[0].strip() for racer in racers]
    assert sorted(line.split()[0] for line in said) == ["lost", "won"]
    winner = next(line.split()[1] for line in said if line.startswith("won"))
    assert next(line for line in said if line.startswith("lost")).count("somebody else meanwhile")
    assert ws.deploy.status("support").release.ref == winner
    assert [e.action for e in ws.deploy.history("support")] == ["promote", "promote"]


def test_another_process_sees_a_move_at_once(ws):
    builds(ws, 2)
    ws.deploy.promote("support@1")
    with lo.open(ws.path, read_only=True) as other:
        assert releases.changed(other.store, "support") == 1
        ws.deploy.promote("support@2")
        assert releases.changed(other.store, "support") == 2
        assert releases.live(other.store, "support").release.number == 2


def test_the_log_cannot_be_rewritten_and_says_who_what_and_on_which_evidence(ws):
    run = ws.evaluation.run("support:model=tiny", "qa", ["exact"])
    ws.deploy.build("support", model="tiny", evidence=run)
    ws.deploy.promote("support", note="first one")
    entry = ws.deploy.history("support")[0]
    assert (entry.action, entry.slot, entry.number, entry.reason) == (
        "promote",
        "live",
        1,
        "first one",
    )
    assert entry.evidence["runs"] == [run.id]
    assert "exact" in entry.evidence["summary"]
    assert "@" in entry.row()["who"]
    for statement in ("DELETE FROM deployment_log", "UPDATE deployment_log SET reason = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), ws.store.write() as conn:
            conn.execute(statement)


def test_who_acts_is_told_with_notebook_and_job():
    assert actor(Provenance("a.ipynb", "c1"), {}).notebook == "a.ipynb"
    hub = actor(
        environ={
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "ann",
            "GITHUB_RUN_ID": "7",
            "SECRET": "x",
        }
    )
    assert hub.ci == {"GITHUB_ACTOR": "ann", "GITHUB_RUN_ID": "7"}
    assert hub.words().startswith("ann (as ")
    assert hub.words().endswith("in run 7")
    lab = actor(environ={"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "bo", "CI_JOB_URL": "u" * 999})
    assert len(lab.ci["CI_JOB_URL"]) == 300
    assert Actor.from_text(lab.text()) == lab
    assert actor(environ={}).ci == {}


def test_a_release_whose_gate_failed_is_not_promoted_unless_one_insists(ws, home):
    plugged(ws, lambda _: "no")
    release = ws.deploy.build("support", model="tiny", suites=[home / "suite.yaml"])
    assert release.manifest["evaluation"]["outcome"] == "failed"
    with pytest.raises(DeployError, match=r"did not pass its gate.*quality: failed"):
        ws.deploy.promote("support")
    assert slots(ws)["live"] is None
    ws.deploy.promote("support", anyway=True, note="emergency")
    assert ws.deploy.history("support")[0].evidence["outcome"] == "failed"


def test_a_bundle_from_elsewhere_is_registered_by_its_folder(ws, tmp_path):
    release = ws.deploy.build("support", model="tiny", folder=tmp_path / "dist" / "support")
    with lo.open(tmp_path / "production.db") as other:
        now = other.deploy.promote(str(tmp_path / "dist" / "support"))
        assert now.release.digest == release.digest
        assert other.deploy.get(f"support@{release.short}").number == 1


def test_releases_are_found_by_number_slot_and_digest(ws):
    made = builds(ws, 2)
    ws.deploy.promote("support@1")
    assert ws.deploy.get("support").number == 2
    assert ws.deploy.get("support@live").number == 1
    assert ws.deploy.get(f"support@{made[1].short}") == made[1]
    for wrong in ("support@9", "support@staged", "support@abcdef12", "suport"):
        with pytest.raises(UnknownNameError):
            ws.deploy.get(wrong)
    with pytest.raises(OptionError):
        ws.deploy.get("support@")
    with pytest.raises(UnknownNameError, match="Did you mean 'support'"):
        ws.deploy.rollback("suport")


def test_a_rollback_is_one_small_transaction(ws):
    builds(ws, 2)
    ws.deploy.promote("support@1")
    ws.deploy.promote("support@2")
    statements = []
    ws.store.writer().set_trace_callback(statements.append)
    ws.deploy.rollback("support")
    ws.store.writer().set_trace_callback(None)
    writes = [s for s in statements if s.split()[0] in ("BEGIN", "COMMIT")]
    assert writes == ["BEGIN IMMEDIATE", "COMMIT"]


def test_a_store_that_is_read_only_promotes_nothing(ws):
    from llmops_jupyter.errors import StoreReadOnlyError

    builds(ws, 1)
    with lo.open(ws.path, read_only=True) as other:
        assert other.deploy.list()[0].release is None
        with pytest.raises(StoreReadOnlyError):
            other.deploy.promote("support")
    assert slots(ws)["live"] is None


def test_traces_and_budgets_know_the_deployment(ws):
    from llmops_jupyter.errors import BudgetError

    ws.configure(deployment="support@abc123")
    ws.prompts.run("support", {"q": "hello"}, model="tiny")
    root = ws.traces.last().spans[0]
    assert root.attributes["llmops.deployment"] == "support"
    assert root.attributes["llmops.deployment.release"] == "abc123"
    ws.prompts.map("support", [{"q": "a"}, {"q": "b"}], model="tiny")
    assert ws.traces.last().spans[0].attributes["llmops.deployment"] == "support"
    ws.monitor.budget("cap", calls=1, per="day", deployment="support")
    ws.prompts.run("support", {"q": "one"}, model="tiny")
    with pytest.raises(BudgetError):
        ws.prompts.run("support", {"q": "two"}, model="tiny")
    ws.configure(deployment="")
    ws.prompts.run("support", {"q": "three"}, model="tiny")
    assert "llmops.deployment" not in ws.traces.last().spans[0].attributes
    with pytest.raises(OptionError, match="name of a deployment"):
        ws.configure(deployment="Not A Name")


def test_the_setting_can_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LLMOPS_DEPLOYMENT", "support")
    with lo.open(":memory:") as workspace:
        assert workspace.settings.deployment == "support"
    with lo.open(":memory:", deployment="other@3") as workspace:
        assert workspace.settings.deployment == "other@3"


def test_a_rollback_to_a_bundle_that_is_gone_is_refused(ws):
    import shutil

    first, _ = builds(ws, 2)
    ws.deploy.promote("support@1")
    ws.deploy.promote("support@2")
    shutil.rmtree(first.folder)
    with pytest.raises(DeployError, match="There is no bundle"):
        ws.deploy.rollback("support")
    assert slots(ws)["live"] == 2


def test_a_folder_with_the_name_of_a_deployment_is_not_taken_for_it(ws, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    builds(ws, 1)
    with lo.open(tmp_path / "other.db") as other:
        plugged(other)
        other.models.add(ws.models.get("tiny").path, name="tiny")
        other.prompts.save("support", "other {{ q }}")
        other.deploy.build("support", model="tiny", folder=tmp_path / "support")
    assert ws.deploy.promote("support").release.number == 1
    assert len(ws.deploy.releases("support")) == 1
    ws.deploy.promote("./support")
    assert len(ws.deploy.releases("support")) == 2
