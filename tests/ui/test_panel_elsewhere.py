"""The panel and the trace renderer in Notebook 7, and in the oldest JupyterLab that is supported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from labs import opened_panel, picture

import llmops_jupyter as lo
from llmops_jupyter.render.trace import TRACE_MIME, trace_bundle

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("panel_built")]
ROOT = Path(__file__).parents[2]
OLDEST = "4.2"
NAME = "sent.ipynb"
ANSWER = "Paris is the capital of France."


@pytest.fixture
def notebook(tmp_path):
    """A store with a trace, and a notebook that holds the same trace as an output."""
    with lo.open(tmp_path / ".llmops") as ws:
        with ws.tracer.span("lookup", op="invoke_workflow", prompt_name="capital") as span:
            with ws.tracer.span("chat tiny", op="chat", model="tiny") as call:
                call.output(ANSWER)
            span.output(ANSWER)
        data, metadata = trace_bundle(ws.traces.get(span.trace_id).as_dict())
    assert TRACE_MIME in data
    shown = nbformat.v4.new_output("display_data", data, metadata=metadata)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cell = nbformat.v4.new_code_cell("%trace show", outputs=[shown])
    made = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(made, tmp_path / NAME)


def trace_in(panel):
    """What the panel shows of the trace, opened from the list."""
    row = panel.get_by_role("option").filter(has_text="capital")
    row.wait_for(timeout=20_000)
    row.click()
    panel.get_by_role("treegrid").wait_for(timeout=20_000)
    return panel.get_by_role("region", name="Trace", exact=True).inner_text()


def output_of(page):
    """What the output of the notebook shows."""
    shown = page.locator(".jp-OutputArea-output .jp-LLMOps-output")
    shown.get_by_role("treegrid").wait_for(timeout=60_000)
    return shown.inner_text()


def test_notebook_7_shows_panel_and_trace(lab, page, notebook):
    if importlib.util.find_spec("notebook") is None:
        pytest.skip("needs Notebook 7 (extra test)")
    page.goto(lab(application="notebook")(NAME))
    assert "chat tiny" in output_of(page)
    page.get_by_role("menuitem", name="View").click()
    page.get_by_role("menuitem", name="Show the LLM Operations Panel").click()
    panel = page.locator("#llmops-jupyter-panel")
    panel.get_by_role("tablist", name="Sections").wait_for(timeout=30_000)
    assert ANSWER in trace_in(panel)
    picture(page, "notebook-7")


@pytest.fixture(scope="module")
def oldest():
    """The Python of an environment with the oldest JupyterLab and with our wheel; all else is that of this one."""
    if os.environ.get("LLMOPS_OLDEST_LAB") != "1":
        pytest.skip("takes minutes the first time: set LLMOPS_OLDEST_LAB=1")
    folder = ROOT / "build" / "oldest-lab"
    bin_folder = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = bin_folder / "python"
    if not (folder / "installed").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        (site,) = (Path(p) for p in folder.glob("**/site-packages"))
        # Found after what is installed there: a dependency of ours that JupyterLab does not bring.
        (site / "others.pth").write_text(
            "\n".join(p for p in sys.path if p.endswith("site-packages")), "utf-8"
        )
        pip(python, "--ignore-installed", f"jupyterlab=={OLDEST}.*")
        (folder / "installed").touch()
    pip(python, "--no-deps", "--no-build-isolation", "--force-reinstall", str(ROOT))
    return str(python)


def pip(python, *options):
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"pip cannot install {options[-1]}: {last}")


def test_the_oldest_jupyterlab_shows_panel_and_trace(lab, page, notebook, oldest):
    version = subprocess.check_output([oldest, "-m", "jupyterlab", "--version"], text=True)
    assert version.startswith(f"{OLDEST}.")
    page.goto(lab(python=oldest, PYTHONPATH="", JUPYTER_PATH="")(NAME))
    assert "chat tiny" in output_of(page)
    assert ANSWER in trace_in(opened_panel(page))
    picture(page, "oldest-lab")
