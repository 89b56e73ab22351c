"""Makes the pictures of the side panel: two notebooks are run in a folder of their own, and a browser looks at them.

    .venv/bin/python docs/pictures.py

Needs what `make test` installs, the side panel (`make panel`), the bundled model and Chromium. Writes docs/pictures/*.png.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import nbformat
from nbclient import NotebookClient
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
QUICKSTART, COMPARED = "01_quickstart", "04_evaluate_and_compare"
SIZE = {"width": 1360, "height": 860}
PANEL_WIDTH = 440


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["LLMOPS_HOME"] = str(root / ".llmops")
        for name in (QUICKSTART, COMPARED):
            shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", root)
            shutil.copy(ROOT / "notebooks" / f"{name}.cassette.json", root)
        replayed(root, COMPARED)
        cleared(root, QUICKSTART)
        server, address = started(root)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                take(browser.new_page(viewport=SIZE), address)
                browser.close()
        finally:
            server.terminate()
            server.wait(30)


def replayed(root: Path, name: str) -> None:
    """Run a notebook on its recorded answers, so that its runs are in the store."""
    path = root / f"{name}.ipynb"
    os.environ["LLMOPS_REPLAY"] = str(root / f"{name}.cassette.json")
    try:
        NotebookClient(nbformat.read(path, 4), resources={"metadata": {"path": root}}).execute()
    finally:
        del os.environ["LLMOPS_REPLAY"]
        path.unlink()


def cleared(root: Path, name: str) -> None:
    path = root / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


def started(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A JupyterLab over a folder, and the address of the quickstart in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    server = subprocess.Popen(  # noqa: S603 - the arguments are this file's own
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *(f"--port={port}", f"--IdentityProvider.token={token}"),
            *(f"--ServerApp.root_dir={root}", "--LabApp.news_url="),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(root / ".jupyter")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    transport = httpx.HTTPTransport(retries=12)  # with growing pauses, about a minute in all
    with httpx.Client(transport=transport) as client:
        client.get(f"http://127.0.0.1:{port}/api/status", params={"token": token})
    return server, f"http://127.0.0.1:{port}/lab/tree/{QUICKSTART}.ipynb?token={token}"


def take(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    page.locator("[data-status=idle]").first.wait_for(timeout=60_000)
    for button in page.get_by_role("button", name="No", exact=True).all():
        button.click()  # whether to get news
    page.get_by_role("tab", name="File Browser").click()  # folds the left side away
    panel = opened(page)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator("li[data-command='runmenu:run-all'] .lm-Menu-itemLabel").click()
    panel.get_by_role("option").filter(has_text="Cairo").first.wait_for(timeout=240_000)
    page.locator("[data-status=idle]").first.wait_for(timeout=240_000)
    page.locator(".jp-WindowedPanel-outer").first.evaluate("outer => { outer.scrollTop = 500; }")
    shot(page, "traces")

    panel.get_by_role("option").filter(has_text="capital@1").first.dblclick()
    panel.get_by_role("treegrid").wait_for(timeout=20_000)
    shot(page, "trace")

    panel.get_by_role("tab", name="Prompts").click()
    panel.get_by_text("capital", exact=True).first.click()
    panel.get_by_text("What changed").wait_for(timeout=20_000)
    shot(page, "prompt")

    panel.get_by_role("tab", name="Evaluations").click()
    panel.get_by_role("button", name="Compare A with B").click()
    panel.locator(".jp-LLMOps-forest").first.wait_for(timeout=60_000)
    shot(page, "evaluations")


def opened(page: Page) -> Locator:
    """The panel, as wide as its pictures need it."""
    page.get_by_role("tab", name="LLM operations").click()
    panel = page.locator("#llmops-jupyter-panel")
    panel.get_by_role("tablist", name="Sections").wait_for(timeout=60_000)
    box = page.locator("#jp-right-stack").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] - 2, 400)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - PANEL_WIDTH, 400, steps=8)
    page.mouse.up()
    return panel


def shot(page: Page, name: str) -> None:
    page.mouse.move(500, 500)
    page.wait_for_timeout(800)  # what moves comes to rest
    page.screenshot(path=PICTURES / f"panel-{name}.png")


if __name__ == "__main__":
    main()
