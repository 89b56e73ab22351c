"""%deploy and `llmops deploy`: the same commands in a notebook and a terminal."""

from __future__ import annotations

import json
import sys
import types

import pytest
import yaml
from deploy_fakes import PIPELINE, plugged, project
from shells import Notebook

from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.errors import DataError, DeployError, OptionError, UnknownNameError
from llmops_jupyter.magics.completion import candidates


@pytest.fixture
def home(tmp_path, monkeypatch):
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("LLMOPS_HOME", str(place / ".llmops"))
    return place


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


@pytest.fixture
def shell(ws):
    notebook = Notebook(ws)
    plugged(ws)
    yield notebook
    notebook.close()


def test_from_a_bundle_to_a_roll_back(shell, ws, capsys):
    shell.run("%deploy list")
    assert "Nothing was deployed yet" in capsys.readouterr().out
    run = ws.evaluation.run("support:model=tiny", "qa", ["exact"])
    shell.run(f"%deploy build support -m tiny --temperature 0 --run {run.id} -o first")
    said = capsys.readouterr().out
    assert "support@1 · support@1 · tiny F16 · weights reference" in said
    assert "exact 100" in said
    assert shell.names["first"].ref == "support@1"
    shell.run("%deploy promote support --note go")
    assert "support@1 is live since" in capsys.readouterr().out
    shell.run("%deploy build support -m tiny --temperature 0.5 --weights copy --folder out/support")
    assert open_bundle("out/support").manifest.settings["temperature"] == 0.5
    shell.run("%deploy promote support@2 --canary 0.25")
    assert "support@2 gets 25% of the units" in capsys.readouterr().out
    shell.run("%deploy status support")
    assert "the canary: keep · 0 of 100 units of the canary so far" in capsys.readouterr().out
    shell.run("%deploy rollback support --canary")
    shell.run("%deploy promote support@2 --expected support@1")
    shell.run("%deploy rollback support --note 'too warm' -o now")
    assert shell.names["now"].release.number == 1
    shell.run("%deploy history support -o log")
    assert [e.action for e in shell.names["log"]] == [
        *("rollback", "promote", "rollback", "canary", "promote"),
    ]
    said = capsys.readouterr().out
    assert "too warm" in said
    shell.run("%deploy list support")
    said = capsys.readouterr().out
    assert "support@2" in said
    shell.run("%deploy promote support@2 --stage")
    shell.run("%deploy status")
    assert "support@2" in capsys.readouterr().out
    with pytest.raises(OptionError, match="goes alone"):
        shell.run("%deploy promote support@2 --stage --canary 0.1")
    with pytest.raises(OptionError, match="number of an evaluation run"):
        shell.run("%deploy build support -m tiny --run last")


def test_a_pipeline_in_a_cell_and_what_it_told(shell, capsys):
    shell.run("%deploy run -o outcome")
    said = capsys.readouterr().out
    assert "support@1 is live" in said
    assert shell.names["outcome"].exit == 0
    shell.run("%deploy status support --log")
    assert "case 1: contains=yes" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"There is no pipeline 'other\.yaml'"):
        shell.run("%deploy run other.yaml")
    with pytest.raises(OptionError, match="choose from"):
        shell.run("%deploy run --until nowhere")


def test_a_pipeline_that_failed_before_its_first_release_has_a_status(shell, home, capsys):
    (home / "deploy.yaml").write_text(PIPELINE.replace("contains=yes", "contains=no"))
    with pytest.raises(DeployError):
        shell.run("%deploy run")
    shell.run("%deploy status support")
    said = capsys.readouterr().out
    assert "nothing of support is live" in said
    assert "contains=no" in said
    with pytest.raises(UnknownNameError):
        shell.run("%deploy status other")


def test_names_are_completed(shell, ws):
    ws.deploy.build("support", model="tiny")
    session = shell.shell._llmops_session
    assert "promote" in candidates(session, "%deploy ")
    assert candidates(session, "%deploy promote ") == ["support", "support@1"]
    assert candidates(session, "%deploy rollback ") == ["support"]
    assert "--canary" in candidates(session, "%deploy promote support -")


def test_the_terminal_has_the_same_commands(ws, home, capsys):
    ws.deploy.build("support", model="tiny")
    assert llmops(["deploy", "promote", "support", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["live"], value["changed"]) == ("support@1", 1)
    assert llmops(["deploy", "history", "support"]) == 0
    assert "promote" in capsys.readouterr().out
    assert llmops(["deploy", "promote", "support"]) == 1
    assert (
        "DeployError: support@1 is live already. llmops deploy status support"
        in capsys.readouterr().err
    )
    assert llmops(["deploy", "rolback", "support"]) == 1
    assert "Did you mean 'rollback'" in capsys.readouterr().err
    assert llmops(["deploy", "status", "support", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["live"] == "support@1"


def test_a_workflow_is_written_once(shell, home, capsys):
    shell.run("%deploy ci github")
    file = home / ".github" / "workflows" / "llmops-support.yml"
    made = yaml.safe_load(file.read_text())
    assert list(made["jobs"]) == ["prove", "promote"]
    assert "llmops export llmops" in capsys.readouterr().out
    with pytest.raises(OptionError, match="there already"):
        shell.run("%deploy ci github")
    shell.run("%deploy ci github --overwrite --python 3.11")
    steps = yaml.safe_load(file.read_text())["jobs"]["prove"]["steps"]
    assert steps[1]["with"]["python-version"] == "3.11"
    capsys.readouterr()
    shell.run("%deploy ci gitlab --show")
    assert "support-prove:" in capsys.readouterr().out
    assert not (home / ".gitlab-ci.yml").exists()
    with pytest.raises(OptionError, match="Did you mean 'github'"):
        shell.run("%deploy ci githb")


def test_a_workflow_of_an_index_needs_its_documents_and_of_an_endpoint_its_key(ws, home):
    from llmops_jupyter.models.endpoint import Endpoint

    (home / "deploy.yaml").write_text("name: support\nmodel: big\nindex: manual\n")
    ws.models.add_endpoint("big", Endpoint("https://example.org/v1", "b", key_env="BIG_KEY"))
    with pytest.raises(OptionError, match="--documents FOLDER"):
        ws.deploy.ci("github", home / "deploy.yaml")
    made = yaml.safe_load(ws.deploy.ci("github", "deploy.yaml", documents=["docs"]))
    job = made["jobs"]["prove"]
    assert job["env"] == {"BIG_KEY": "${{ secrets.BIG_KEY }}"}
    lines = job["steps"][3]["run"].splitlines()
    assert lines == [
        "llmops import llmops",
        "llmops models add big https://example.org/v1 --model b --key-env BIG_KEY",
        "llmops rag add manual docs",
    ]
    assert "llmops-jupyter[llama,rag]" in job["steps"][2]["run"]
    (home / "deploy.yaml").write_text("name: support\nmodel: tiny\n")
    made = yaml.safe_load(ws.deploy.ci("github", "deploy.yaml"))["jobs"]["prove"]
    assert (
        made["steps"][3]["run"].splitlines()[1]
        == 'llmops models add "$LLMOPS_FILE_TINY" --name tiny'
    )
    assert made["env"] == {"LLMOPS_FILE_TINY": "${{ vars.LLMOPS_FILE_TINY }}"}
    assert str(home) not in ws.deploy.ci("gitlab", "deploy.yaml")
    (home / "deploy.yaml").write_text("name: support\nmodel: elsewhere\nadapter: [tone:0.5]\n")
    for system in ("github", "gitlab"):
        told = ws.deploy.ci(system, "deploy.yaml")
        assert "# elsewhere is not in this workspace: register it here" in told
        assert "# tone is not in this workspace: register it here" in told


def test_serving_is_asked_of_its_own_part(shell, ws, home, monkeypatch, capsys):
    called = []
    process = types.ModuleType("llmops_jupyter.deploy.serving.process")
    process.start = lambda given, **more: (
        called.append((given, more)) or "serving at http://127.0.0.1:9"
    )
    process.stop = called.append
    monkeypatch.setitem(sys.modules, "llmops_jupyter.deploy.serving.process", process)
    release = ws.deploy.build("support", model="tiny")
    shell.run("%deploy serve support --port 9")
    assert called[0] == ("support", {"store": ws.path, "port": 9})
    shell.run(f"%deploy serve {release.folder}")
    assert called[1][0] == release.folder
    assert "serving at" in capsys.readouterr().out
    shell.run("%deploy stop support")
    assert called[2] == "support"
    monkeypatch.setattr(
        "llmops_jupyter.commands.deploy.SERVING", "llmops_jupyter.deploy.no_such_part.process"
    )
    with pytest.raises(DeployError, match=r"pip install \"llmops-jupyter\[serve\]\""):
        shell.run("%deploy stop support")


def test_a_report_is_appended_for_a_summary_page(ws, home, capsys):
    plugged(ws)
    outcome = ws.deploy.run("deploy.yaml")
    from llmops_jupyter.commands.deploy import _append, _markdown

    _append("summary.md", "before\n")
    _append("summary.md", _markdown(outcome))
    text = (home / "summary.md").read_text()
    assert text.startswith("before\n## ✅ pipeline 1 of support")
    assert "| gate | ok | quality: passed" in text
    with pytest.raises(OptionError, match="cannot be written"):
        _append(str(home), "x")
