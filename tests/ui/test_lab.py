"""The notebooks in a real JupyterLab, in a real browser."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import nbformat
import pytest

pytest.importorskip("jupyterlab", reason="needs JupyterLab (extra lab)")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test)")

CHROMIUM = next(
    (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: apt-get install chromium)"),
]

FOLDER = Path(__file__).parents[2] / "notebooks"
NAME = "01_quickstart.ipynb"
CASSETTE = "01_quickstart.cassette.json"
SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a folder that keeps what the browser showed
HOSTILE = (
    "**bold** <img src='http://leak.invalid/tag' onerror='window.pwned=1'>"
    "<script>window.pwned=2</script> ![pixel](http://leak.invalid/markdown)"
    "<iframe src='http://leak.invalid/frame'></iframe>"
    "<style>@import url('http://leak.invalid/style');</style>"
    "<svg onload='window.pwned=3'></svg> [click](javascript:window.pwned=4)"
    "\n\n```\ncode\n   ```\n<img src='http://leak.invalid/fence' onerror='window.pwned=5'>"
)


@pytest.fixture
def page():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 1600})
        yield tab
        browser.close()


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab in a folder of its own; call it with variables, it returns its address."""
    servers = []

    def start(**variables):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        token = secrets.token_hex(8)
        state = tmp_path / "jupyter"
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *(f"--port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path}"),
                "--LabApp.news_url=",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            env={
                **os.environ,
                "LLMOPS_HOME": str(tmp_path / ".llmops"),
                "JUPYTER_CONFIG_DIR": str(state / "config"),
                "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
                "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"),
                "JUPYTERLAB_WORKSPACES_DIR": str(state / "workspaces"),
                **variables,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        servers.append(server)
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, "JupyterLab ended"
            assert time.monotonic() < deadline, "JupyterLab does not answer"
            try:
                httpx.get(f"{address}/api/status", params={"token": token}).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                return lambda name: f"{address}/lab/tree/{name}?token={token}"

    yield start
    for server in servers:
        server.terminate()
        server.wait(20)


def run_all(page, address):
    """Open a notebook and run all its cells; returns when the kernel is idle after the last."""
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    page.get_by_title("Python 3").first.wait_for(timeout=60_000)
    page.locator("[data-status=idle]").first.wait_for(timeout=60_000)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator("li[data-command='runmenu:run-all'] .lm-Menu-itemLabel").click()


def saved(page, path, n_code):
    """Save until the file on disk shows every code cell as run; returns the notebook."""
    deadline = time.monotonic() + 240
    while True:
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        notebook = nbformat.read(path, 4)
        ran = [c for c in notebook.cells if c.cell_type == "code" and c.execution_count]
        wrong = [o for c in ran for o in c.outputs if o.output_type == "error"]
        assert not wrong, wrong
        if len(ran) == n_code and page.locator("[data-status=idle]").count():
            return notebook
        assert time.monotonic() < deadline, f"{len(ran)} of {n_code} cells ran"


@pytest.mark.model
def test_the_quickstart_runs_from_top_to_bottom_in_the_browser(lab, page, tmp_path, model_path):
    notebook = nbformat.read(FOLDER / NAME, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, tmp_path / NAME)
    address = lab()(NAME)
    run_all(page, address)
    done = saved(page, tmp_path / NAME, sum(c.cell_type == "code" for c in notebook.cells))
    answer = next(c for c in done.cells if c.source.startswith("%%prompt capital -o reply"))
    assert "Paris" in answer.outputs[0].data["text/markdown"]
    shown = page.locator(".jp-RenderedMarkdown", has_text="Paris")
    assert shown.count() >= 1
    if SCREENSHOTS:
        page.locator(".jp-Notebook .jp-Cell").first.scroll_into_view_if_needed()
        for part in range(4):
            page.screenshot(path=Path(SCREENSHOTS) / f"quickstart-{part}.png")
            page.mouse.move(800, 800)
            page.mouse.wheel(0, 1300)
            page.wait_for_timeout(500)


def test_an_answer_with_hostile_markdown_runs_and_fetches_nothing(lab, page, tmp_path):
    text = (FOLDER / CASSETTE).read_text("utf-8")
    said = json.dumps("The capital of France is Paris.")[1:-1]
    assert said in text
    (tmp_path / CASSETTE).write_text(
        text.replace(said, json.dumps(HOSTILE)[1:-1]), encoding="utf-8"
    )
    notebook = nbformat.read(FOLDER / NAME, 4)
    kept = [c for c in notebook.cells if c.cell_type == "code"][:4]
    kept.append(nbformat.v4.new_code_cell("%trace show last"))
    kept.append(nbformat.v4.new_code_cell("reply"))
    kept = [c for c in kept if not c.source.startswith("assert")]
    for cell in kept:
        cell.outputs, cell.execution_count = [], None
    notebook.cells = kept
    nbformat.write(notebook, tmp_path / "hostile.ipynb")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    address = lab(LLMOPS_REPLAY=str(tmp_path / CASSETTE))("hostile.ipynb")
    run_all(page, address)
    saved(page, tmp_path / "hostile.ipynb", len(kept))
    page.wait_for_timeout(1000)
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / "hostile.png")
    assert page.locator(".jp-RenderedMarkdown strong", has_text="bold").count() >= 1
    for link in page.locator(".jp-RenderedMarkdown a", has_text="click").all():
        link.click()
    assert page.evaluate("window.pwned") is None
    assert [url for url in asked if "leak.invalid" in url] == []
    assert page.locator(".jp-OutputArea img, .jp-OutputArea iframe").count() == 0
