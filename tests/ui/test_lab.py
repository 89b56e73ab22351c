"""The notebooks in a real JupyterLab, in a real browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from labs import run_all, saved

pytestmark = pytest.mark.browser

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
