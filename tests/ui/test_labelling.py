"""Labelling in a real JupyterLab, with keys; nothing that an answer holds runs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from labs import run_all

import llmops_jupyter as lo

pytestmark = pytest.mark.browser
SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a folder that keeps what the browser showed
HOSTILE = (
    "<img src='http://leak.invalid/x' onerror='window.pwned=1'><script>window.pwned=2</script>"
)
CELLS = (
    "%load_ext llmops_jupyter\nimport llmops_jupyter as lo\nws = lo.open()",
    (
        f"rows = [{{'question': f'question {{n}}', 'a': {HOSTILE!r} + str(n), 'expected': 'x'}} for n in range(4)]\n"
        "run = ws.evaluation.run('column=a', rows, 'exact')"
    ),
    "%evaluate label 1 --name ok --by ann",
)


def test_answers_are_labelled_with_keys_and_nothing_in_them_runs(lab, page, tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, tmp_path / "label.ipynb")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    run_all(page, lab()("label.ipynb"))
    widget = page.locator(".llmops-label")
    widget.wait_for(timeout=90_000)
    assert "0 of 4 labelled" in widget.inner_text()
    assert HOSTILE in widget.inner_text()
    if SCREENSHOTS:
        widget.screenshot(path=Path(SCREENSHOTS) / "labelling.png")
    widget.focus()
    page.keyboard.press("1")
    page.get_by_text("1 of 4 labelled").wait_for()
    page.keyboard.press("n")
    page.keyboard.type("not 2 sure")  # digits of a note are no labels
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    page.get_by_text("2 of 4 labelled").wait_for()
    page.keyboard.press("s")
    page.wait_for_timeout(500)
    page.keyboard.press("u")
    page.wait_for_timeout(500)
    page.keyboard.press("u")
    page.get_by_text("1 of 4 labelled").wait_for()
    for done in (2, 3, 4):
        page.keyboard.press("2")
        page.get_by_text(f"{done} of 4 labelled").wait_for()
    page.get_by_text("Everything is labelled").wait_for()
    with lo.open(tmp_path / ".llmops") as ws:
        kept = ws.evaluation.labels(1, "ok")
        assert sorted(label.label for label in kept) == ["bad", "bad", "bad", "good"]
    assert page.evaluate("window.pwned") is None
    assert [url for url in asked if "leak.invalid" in url] == []
