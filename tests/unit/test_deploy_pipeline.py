"""Pipelines: declared steps, kept with what went in, gone on with after an interrupt or a kill; gates that promote nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress

import pytest
from deploy_fakes import PIPELINE, project, python

import llmops_jupyter as lo
from llmops_jupyter.deploy import promoting, proving, runs
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.deploy.planfile import read_plan
from llmops_jupyter.errors import DataError, DeployError, OptionError, UnknownNameError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


def run(workspace, home, **options):
    return workspace.deploy.run(home / "deploy.yaml", **options)


def statuses(outcome):
    return {step.name: step.status for step in outcome.run.steps}


def last(workspace):
    return workspace.deploy.runs("support")[0]


def test_a_pipeline_goes_from_tests_to_a_live_release_with_its_evidence(ws, home):
    outcome = run(ws, home)
    assert list(statuses(outcome)) == ["test", "evaluate", "gate", "package", "stage", "promote"]
    assert set(statuses(outcome).values()) == {"ok"}
    assert outcome.exit == 0
    assert ws.deploy.status("support").release == outcome.release
    bundle = open_bundle(outcome.release.folder)
    assert bundle.manifest.evaluation["outcome"] == "passed"
    report = bundle.evaluation
    assert report["gates"][0]["gates"][0]["outcome"] == "passed"
    assert report["runs"][0]["metrics"][0]["metric"] == "exact"
    assert "quality: passed" in (outcome.release.folder / "evaluation" / "report.md").read_text()
    entry = ws.deploy.history("support")[0]
    assert entry.action == "promote"
    assert "quality: passed (1 of 1 gates passed)" in entry.evidence["summary"]
    assert entry.evidence["digest"] == bundle.digest
    assert entry.evidence["runs"]


def test_a_second_run_on_the_same_inputs_runs_nothing_again(ws, home):
    first = run(ws, home)
    asked = len(ws.reader.requests)
    again = run(ws, home)
    assert (
        statuses(again)["test"]
        == statuses(again)["gate"]
        == statuses(again)["package"]
        == "skipped"
    )
    assert len(ws.reader.requests) == asked
    assert again.release == first.release
    assert len(ws.deploy.history("support")) == 2
    assert set(statuses(run(ws, home, fresh=True)).values()) == {"ok"}


def test_what_changed_is_run_again_from_there(ws, home):
    run(ws, home)
    text = (home / "suite.yaml").read_text().replace("0.7", "0.8")
    (home / "suite.yaml").write_text(text)
    found = statuses(run(ws, home))
    assert (found["test"], found["evaluate"], found["gate"], found["package"]) == (
        *("skipped", "skipped"),
        *("ok", "ok"),
    )
    ws.prompts.save("support", "better {{ q }}")
    assert set(statuses(run(ws, home)).values()) == {"ok"}
    ws.data.add("qa", [{"q": f"n{i}", "expected": "yes"} for i in range(40)])
    found = statuses(run(ws, home))
    assert (found["test"], found["evaluate"]) == ("skipped", "ok")


def test_a_failed_gate_names_metric_interval_and_rows_and_promotes_nothing(ws, home):
    run(ws, home)
    ws.prompts.save("support", "worse {{ q }}")
    ws.reader.answer = lambda text: "no" if "q" in text else "yes"
    with pytest.raises(DeployError) as e:
        run(ws, home)
    said = str(e.value)
    assert "nothing was promoted: quality: exact at least 0.7 failed" in said
    assert "interval 0.0 % to" in said
    assert "; rows " in said
    assert "and 5 more" in said
    assert ws.deploy.status("support").release.number == 1
    assert len(ws.deploy.releases("support")) == 1
    found = last(ws)
    assert found.status == "failed"
    assert found.steps[-1].name == "gate"
    assert found.steps[-1].result["evidence"]["outcome"] == "failed"
    assert any(
        "exact at least 0.7 failed" in line
        for _, line in runs.lines_of(ws.store, found.steps[-1].id)
    )


def test_an_undecided_gate_stops_too_unless_that_is_allowed(ws, home):
    (home / "suite.yaml").write_text((home / "suite.yaml").read_text().replace("0.7", "0.95"))
    with pytest.raises(DeployError, match="undecided"):
        run(ws, home)
    text = PIPELINE.replace("gate: suite.yaml", "gate: {suites: suite.yaml, allow_undecided: true}")
    (home / "deploy.yaml").write_text(text)
    assert run(ws, home).release.manifest["evaluation"]["outcome"] == "undecided"


def test_the_gate_is_about_what_is_deployed_whatever_the_suite_names(ws, home):
    (home / "suite.yaml").write_text(
        (home / "suite.yaml").read_text().replace("variant: support", "variant: column=expected")
    )
    ws.reader.answer = lambda text: "no" if "q" in text else "yes"
    with pytest.raises(DeployError, match=r"exact at least 0\.7 failed"):
        run(ws, home)


def test_a_rule_of_the_monitor_in_alarm_promotes_nothing(ws, home):
    ws.monitor.alerts.add([{"name": "errors", "metric": "error_rate", "alert": 0.1, "at_least": 3}])
    text = PIPELINE.replace("gate: suite.yaml", "gate: {suites: [suite.yaml], rules: [errors]}")
    (home / "deploy.yaml").write_text(text)
    assert run(ws, home).exit == 0
    for _ in range(60):
        with pytest.raises(lo.LLMOpsError):
            ws.prompts.run("support", {"q": "bad"}, model="tiny")
    with pytest.raises(DeployError, match=r"errors is alert \(error_rate .*n = \d+"):
        run(ws, home)


def test_a_test_that_fails_says_what_was_answered(ws, home):
    (home / "deploy.yaml").write_text(PIPELINE.replace("contains=yes", "contains=Paris"))
    with pytest.raises(DeployError, match=r"line 5 failed.*contains=Paris.*the answer was 'yes'"):
        run(ws, home)
    assert last(ws).steps[-1].error
    (home / "deploy.yaml").write_text(PIPELINE.replace("hello", "bad"))
    with pytest.raises(DeployError, match="got no answer"):
        run(ws, home)


def test_commands_run_without_a_shell_and_keep_their_lines(ws, home):
    code = "import sys; print('one'); print(sys.argv[1])"
    (home / "check.py").write_text(code)
    text = PIPELINE.replace(
        "test:\n  - {variables: {q: hello}, expect: contains=yes}",
        f"test:\n  commands: [\"{python('')[0]} check.py '$HOME;ls'\"]",
    )
    (home / "deploy.yaml").write_text(text)
    run(ws, home, until="test")
    lines = [line for _, line in runs.lines_of(ws.store, last(ws).steps[0].id)]
    assert lines[1:3] == ["one", "$HOME;ls"]
    (home / "check.py").write_text("print('boom'); raise SystemExit(3)")
    with pytest.raises(DeployError, match="ended with 3, so nothing was promoted: boom"):
        run(ws, home, until="test", fresh=True)
    with pytest.raises(DeployError, match="cannot be run"):
        proving.run_command("no-such-program-anywhere", home, lambda _: None)
    with pytest.raises(DeployError, match="cannot be run"):
        proving.run_command("'unclosed", home, lambda _: None)


def test_until_ends_after_a_step(ws, home, tmp_path):
    outcome = run(ws, home, until="package", folder=tmp_path / "dist" / "support")
    assert list(statuses(outcome)) == ["test", "evaluate", "gate", "package"]
    assert outcome.live.release is None
    assert open_bundle(tmp_path / "dist" / "support").digest == outcome.release.digest
    with pytest.raises(OptionError, match="Did you mean 'package'"):
        run(ws, home, until="pakage")
    with pytest.raises(OptionError, match="Steps of this pipeline: test"):
        run(ws, home, until="canary")


CANARY = (
    PIPELINE + "canary: {weight: 0.5, units: 20, rules: [{metric: error_rate, worse_by: 0.2}]}\n"
)


def serve(workspace, release, n, text="hello"):
    workspace.configure(deployment=f"support@{release.short}")
    for i in range(n):
        with suppress(lo.LLMOpsError):
            workspace.prompts.run("support", {"q": f"{text} {i}"}, model="tiny")
    workspace.configure(deployment="")


def test_a_canary_is_waited_for_and_promoted_when_its_traffic_says_so(ws, home):
    (home / "deploy.yaml").write_text(CANARY)
    assert run(ws, home).live.release.number == 1
    ws.prompts.save("support", "good new {{ q }}")
    waiting = run(ws, home)
    assert waiting.exit == 3
    assert waiting.run.status == "waiting"
    assert "0 of 20 units" in waiting.note
    assert (waiting.live.release.number, waiting.live.canary.number) == (1, 2)
    serve(ws, waiting.live.release, 80)
    serve(ws, waiting.live.canary, 80)
    done = run(ws, home)
    assert done.exit == 0
    assert statuses(done)["gate"] == "skipped"
    assert done.live.release.number == 2
    assert ws.deploy.history("support")[0].evidence["canary"]["action"] == "promote"


def test_a_bad_canary_is_taken_back_and_not_promoted_again_by_a_repeated_job(ws, home):
    (home / "deploy.yaml").write_text(CANARY)
    run(ws, home)
    ws.prompts.save("support", "good new {{ q }}")
    now = run(ws, home).live
    serve(ws, now.release, 60)
    serve(ws, now.canary, 60, "bad")
    with pytest.raises(DeployError, match="was taken back, and nothing was promoted: error_rate"):
        run(ws, home)
    assert ws.deploy.status("support").canary is None
    with pytest.raises(DeployError, match=r"support@2 was rolled back by .*--again"):
        run(ws, home)
    assert run(ws, home, again=True).exit == 3


def test_a_person_promotes_where_the_plan_says_so(ws, home):
    (home / "deploy.yaml").write_text(PIPELINE + "promote: manual\n")
    outcome = run(ws, home)
    assert outcome.exit == 3
    assert outcome.note == "a person promotes it: %deploy promote support@1"
    assert outcome.live.staged.number == 1
    ws.deploy.promote("support")
    assert run(ws, home).exit == 0


def test_somebody_elses_promotion_meanwhile_wins(ws, home, monkeypatch):
    run(ws, home)
    ws.prompts.save("support", "good new {{ q }}")
    real = proving.Proving.gate

    def meanwhile(self, keep):
        ws.deploy.build("support", model="tiny", temperature=0.9)
        ws.deploy.promote("support")
        return real(self, keep)

    monkeypatch.setattr(proving.Proving, "gate", meanwhile)
    with pytest.raises(DeployError, match="changed by somebody else meanwhile"):
        run(ws, home)
    assert ws.deploy.status("support").release.manifest["settings"]["temperature"] == 0.9


def test_somebody_elses_move_right_after_our_own_is_not_taken_for_ours(ws, home, monkeypatch):
    run(ws, home)
    ws.prompts.save("support", "good new {{ q }}")
    real = promoting.live

    def moved(store, name):
        monkeypatch.setattr(promoting, "live", real)
        other = ws.deploy.build("support", model="tiny", temperature=0.9)
        ws.deploy.promote(other.ref)
        return real(store, name)

    monkeypatch.setattr(promoting, "live", moved)
    with pytest.raises(DeployError, match="changed by somebody else meanwhile"):
        run(ws, home)
    assert ws.deploy.status("support").release.manifest["settings"]["temperature"] == 0.9


def test_an_interrupt_keeps_what_succeeded(ws, home, monkeypatch):
    def pressed(self, keep):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(proving.Proving, "gate", pressed)
        with pytest.raises(KeyboardInterrupt, match="run it again to go on"):
            run(ws, home)
    assert last(ws).status == "interrupted"
    assert last(ws).steps[-1].status == "interrupted"
    asked = len(ws.reader.requests)
    found = statuses(run(ws, home))
    assert (found["test"], found["evaluate"], found["gate"]) == ("skipped", "skipped", "ok")
    assert len(ws.reader.requests) == asked


KILLED = """
import os, signal
from pathlib import Path
import llmops_jupyter as lo
from deploy_fakes import plugged
from llmops_jupyter.deploy import pipeline
with lo.open({store!r}) as ws:
    reader = plugged(ws)
    def package(self):
        print(len(reader.requests), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    pipeline.Pipeline._package = package
    ws.deploy.run({file!r})
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
def test_a_killed_pipeline_goes_on_where_it_stopped(ws, home):
    code = KILLED.format(store=str(ws.path), file=str(home / "deploy.yaml"))
    done = subprocess.run(python(code), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.strip() == "41"
    assert last(ws).status == "interrupted"
    assert last(ws).steps[-1].status == "interrupted"
    outcome = run(ws, home)
    assert statuses(outcome)["gate"] == "skipped"
    assert statuses(outcome)["package"] == "ok"
    assert outcome.live.release.number == 1
    assert len(ws.reader.requests) == 0
    before = ws.deploy.runs("support")[1]
    assert (before.status, before.steps[-1].status) == ("interrupted", "interrupted")


def test_one_pipeline_of_a_deployment_runs_at_a_time(ws, home, monkeypatch):
    seen = []

    def inner(self):
        with pytest.raises(DeployError, match="running already") as e:
            run(ws, home)
        seen.append(str(e.value))
        return {"summary": "ok"}

    monkeypatch.setattr(proving.Proving, "test", inner)
    assert run(ws, home).exit == 0
    assert seen
    assert run(ws, home).exit == 0


def test_a_bundle_that_was_lost_is_built_again(ws, home):
    import shutil

    first = run(ws, home)
    shutil.rmtree(first.release.folder)
    again = run(ws, home)
    assert statuses(again)["package"] == "ok"
    assert again.release == first.release


def test_everything_wrong_is_found_before_a_step_runs(ws, home):
    for old, new, kind in (
        ("model: tiny", "model: huge", UnknownNameError),
        ("gate: suite.yaml", "gate: nothing-kept", UnknownNameError),
        ("data: qa", "data: none", UnknownNameError),
        ("metrics: [exact]", "metrics: [exactly]", lo.LLMOpsError),
        ("gate: suite.yaml", "gate: {rules: [none]}", UnknownNameError),
        ("{temperature: 0}", "{temperature: -1}", OptionError),
    ):
        (home / "deploy.yaml").write_text(PIPELINE.replace(old, new))
        with pytest.raises(kind):
            run(ws, home)
    assert ws.deploy.runs("support") == []
    assert ws.reader.requests == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\npromt: b\n", "line 2: A pipeline has no key 'promt'. Did you mean 'prompt'"),
        ("prompt: b\nmodel: c\n", "has no name"),
        ("name: My App\nmodel: x\n", "line 1: 'My App' cannot be the name"),
        ("- a\n- b\n", "is no pipeline"),
        ("name: a\nname: b\n", "line 2: name is there a second time"),
        ("name: a\nmodel: [1\n", "is no YAML"),
        (
            "name: a\nweights: cpy\n",
            "line 2: weights is copy or link or reference.*Did you mean 'copy'",
        ),
        (
            "name: a\noptions:\n  temprature: 0\n",
            "line 3: options has no key.*Did you mean 'temperature'",
        ),
        ("name: a\noptions: 3\n", "line 2: options are settings"),
        ("name: a\nmodel: b\noptions:\n  model: c\n", "line 4: model is said twice"),
        ("name: a\ntest: yes\n", "line 2: test is a list of cases"),
        ("name: a\ntest:\n  - {q: x}\n", "line 3: A case has no key 'q'"),
        ("name: a\ntest:\n  - {variables: {q: x}}\n", "line 3: a case says what to expect"),
        ("name: a\ntest:\n  - hello\n", "line 3: a case is a mapping"),
        ("name: a\ntest: {cmds: [x]}\n", "line 2: test has no key 'cmds'"),
        ("name: a\nevaluate: {metrics: [exact]}\n", "evaluate names data"),
        (
            "name: a\nevaluate:\n  data: d\n  metric: x\n",
            "line 4: evaluate has no key 'metric'. Did you mean 'metrics'",
        ),
        ("name: a\nevaluate: {data: d}\n", "evaluate needs metrics"),
        ("name: a\nevaluate: {data: d, metrics: [e], repeat: 0}\n", "repeat is a whole number"),
        ("name: a\ngate: {}\n", "names suites, or rules"),
        ("name: a\ngate: {suites: [3]}\n", "suites is a text or a list"),
        ("name: a\ngate: 3\n", "gate is a suite"),
        ("name: a\ngate: {suites: s, allow_undecided: 1}\n", "allow_undecided is true or false"),
        ("name: a\ncanary: {}\n", "weight is a share"),
        ("name: a\ncanary: 10\n", "weight is a share"),
        (
            "name: a\ncanary: {weight: 0.1, rules: [{metric: x, worse_by: 1}]}\n",
            "line 2: there is no metric 'x'",
        ),
        ("name: a\ncanary: soon\n", "canary has a weight"),
        ("name: a\npromote: later\n", "promote is auto or manual"),
        ("name: a\nstage: 3\n", "stage is true or false"),
        ("name: a\nprompt: 3\n", "prompt is a name"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_what(text, said):
    with pytest.raises(DataError, match=said):
        read_plan(text)


def test_a_file_that_is_not_there_or_is_no_text_is_said(tmp_path):
    with pytest.raises(DataError, match="There is no pipeline"):
        read_plan(tmp_path / "deploy.yaml")
    (tmp_path / "deploy.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text in UTF-8"):
        read_plan(tmp_path / "deploy.yaml")
    with pytest.raises(DataError, match="cannot be read"):
        read_plan(tmp_path)


def test_what_is_not_declared_is_not_run():
    plan = read_plan("name: a\nstage: false\n")
    assert plan.steps() == ["package", "promote"]
    assert plan.prompt == "a"


def test_a_log_outlives_the_process_and_reads_as_json(ws, home):
    run(ws, home)
    with lo.open(ws.path, read_only=True) as other:
        found = other.deploy.runs("support")[0]
        assert found.status == "ok"
        assert json.dumps(found.as_dict())
        lines = runs.lines_of(other.store, found.steps[0].id)
        assert lines[-1][1] == "1 cases and 0 commands passed"


def test_an_outcome_shows_itself(ws, home):
    outcome = run(ws, home)
    bundle = outcome._repr_mimebundle_()
    assert "support@1" in bundle["text/plain"]
    assert "<table" in bundle["text/html"]
