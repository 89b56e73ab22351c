"""What browser tests do in JupyterLab."""

from __future__ import annotations

import time

import nbformat


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
