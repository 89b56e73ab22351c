"""What browser tests do in JupyterLab."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import nbformat

SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a folder that keeps what the browser showed
# What is live in the outputs of a notebook; pictures are those of charts, inside the page.
LIVE = """root => [...root.querySelectorAll('*')].filter(made =>
    ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'FORM', 'LINK', 'META', 'STYLE', 'BASE'].includes(made.tagName)
      && !made.closest('.llmops-panel')
    || made.tagName === 'IMG' && !made.src.startsWith('data:image/png')
    || [...made.attributes].some(({ name, value }) => name.startsWith('on')
      || /^\\s*(javascript|data:text|vbscript)/i.test(value)
      || name === 'style' && /url\\(|expression/.test(value))
  ).map(made => made.outerHTML.slice(0, 200))"""


def run_all(page, address):
    """Open a notebook and run all its cells; returns when the kernel is idle after the last."""
    page.goto(address)
    run_open(page)


def run_open(page):
    """Run all cells of the notebook that is open."""
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


def opened(page, lab, path, sources, widget):
    """Run these cells as a notebook in a JupyterLab of its own; returns the widget that they show."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, path)
    run_all(page, lab()(path.name))
    found = page.locator(widget)
    found.wait_for(timeout=90_000)
    return found


def picture(widget, name):
    if SCREENSHOTS:
        widget.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def wait_for(widget, text):
    widget.get_by_text(text).first.wait_for(timeout=20_000)


def opened_panel(page):
    """The side panel, opened by its tab."""
    page.get_by_role("tab", name="LLM operations").click(timeout=30_000)
    panel = page.locator("#llmops-jupyter-panel")
    panel.get_by_role("tablist", name="Sections").wait_for(timeout=30_000)
    return panel


def asked_of_us(page):
    """The addresses below our routes that the page asks for, from now on."""
    found = []
    page.on("request", lambda r: found.append(r.url) if "/llmops/v1/" in r.url else None)
    return found


def assert_quiet(page, watched, own):
    """Nothing has run, and nothing was asked for but what is the server's own."""
    assert page.evaluate("window.pwned") is None
    assert watched["dialogs"] == []
    foreign = [url for url in watched["requests"] if not re.match(rf"data:|blob:|{own}", url)]
    assert foreign == [], foreign
