"""Labelling in a real JupyterLab, with keys; nothing that an answer holds runs."""

from __future__ import annotations

import pytest
from labs import opened, picture, saved, wait_for

import llmops_jupyter as lo

pytestmark = pytest.mark.browser
HOSTILE = (
    "<img src=x onerror='window.pwned=1'><img src='http://leak.invalid/x'><script>window.pwned=2</script>"
    "\n    four spaces, then an answer "
)
LOAD = "%load_ext llmops_jupyter\nimport llmops_jupyter as lo\nws = lo.open()"
ROWS = (
    f"rows = [{{'question': f'question {{n}}', 'a': {HOSTILE!r} + str(n), 'b': f'Answer {{n}}.', 'expected': 'x'}}\n"
    "        for n in range(4)]\n"
    "run = ws.evaluation.run('column=a', rows, 'exact')\n"
    "other = ws.evaluation.run('column=b', rows, 'exact')"
)


@pytest.fixture
def labelling(lab, page, tmp_path):
    """Start a notebook with a labelling cell; returns the widget and the notebook's path."""

    def start(line, *more):
        path = tmp_path / "label.ipynb"
        return opened(page, lab, path, (LOAD, ROWS, line, *more), ".llmops-label"), path

    return start


def test_answers_are_labelled_with_keys_and_nothing_in_them_runs(labelling, page, tmp_path):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    widget, path = labelling("%evaluate label 1 --name ok --by ann")
    assert "0 of 4 labelled" in widget.inner_text()
    assert HOSTILE in widget.locator(".llmops-label-answer pre").inner_text()
    assert widget.locator("img, script").count() == 0
    picture(widget, "labelling")
    widget.focus()
    page.keyboard.press("1")
    wait_for(widget, "1 of 4 labelled")
    page.keyboard.press("n")
    page.keyboard.type("not 2 sure")  # digits of a note are no labels
    page.keyboard.press("Enter")
    page.keyboard.press("b")
    wait_for(widget, "2 of 4 labelled")
    page.keyboard.press("ArrowLeft")
    wait_for(widget, "no. 2")
    assert widget.locator(".llmops-label-note").input_value() == "not 2 sure"
    assert widget.get_by_role("button", name="bad").get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    wait_for(widget, "no. 3")
    page.keyboard.press("s")
    wait_for(widget, "no. 4")
    page.keyboard.press("u")  # takes the skip back
    wait_for(widget, "no. 3")
    page.keyboard.press("u")
    wait_for(widget, "1 of 4 labelled")
    page.keyboard.press("e")
    assert widget.locator("details[open] pre").inner_text() == "x"
    for done in (2, 3, 4):
        page.keyboard.press("2")
        wait_for(widget, f"{done} of 4 labelled")
    wait_for(widget, "Everything is labelled")
    assert widget.evaluate("made => made === document.activeElement")
    with lo.open(tmp_path / ".llmops") as ws:
        kept = ws.evaluation.labels(1, "ok")
        assert sorted(label.label for label in kept) == ["bad", "bad", "bad", "good"]
    assert page.evaluate("window.pwned") is None
    assert [url for url in asked if "leak.invalid" in url] == []
    notebook = saved(page, path, 3)
    plain = [output.data["text/plain"] for output in notebook.cells[2].outputs]
    assert plain[-1] == "4 of 4 answers labelled as 'ok' by ann."


def test_while_the_kernel_is_busy_one_decision_waits_and_others_are_not_taken(
    labelling, page, tmp_path
):
    widget, _ = labelling("%evaluate label 1 --name ok --by ann", "import time; time.sleep(5)")
    widget.focus()
    for key in "1222":
        page.keyboard.press(key)
    assert widget.get_attribute("aria-busy") == "true"
    wait_for(widget, "1 of 4 labelled")
    assert widget.get_attribute("aria-busy") is None
    with lo.open(tmp_path / ".llmops") as ws:
        assert [label.label for label in ws.evaluation.labels(1, "ok")] == ["good"]


def test_pairs_are_read_in_the_dark_and_in_a_narrow_window(labelling, page, tmp_path):
    widget, _ = labelling("%evaluate label 1 2 --name better --by ann")
    left, right = widget.locator(".llmops-label-answer").all()
    assert left.bounding_box()["y"] == right.bounding_box()["y"]
    picture(widget, "pairs")
    widget.evaluate("made => { made.parentElement.style.width = '300px'; }")
    assert left.bounding_box()["y"] < right.bounding_box()["y"]
    assert widget.evaluate("made => made.scrollWidth <= made.clientWidth")
    picture(widget, "pairs-narrow")
    page.locator(".lm-MenuBar-itemLabel", has_text="Settings").first.click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
    page.locator("body[data-jp-theme-name='JupyterLab Dark']").wait_for(state="attached")
    page.wait_for_timeout(1000)
    picture(widget, "pairs-dark")
    assert widget.evaluate(CONTRAST) > 4.5
    widget.focus()
    side = "l" if "Answer" in left.inner_text() else "r"
    page.keyboard.press(side)
    wait_for(widget, "1 of 4 labelled")
    with lo.open(tmp_path / ".llmops") as ws:
        (kept,) = ws.evaluation.labels((1, 2), "better")
        assert kept.label == "second"


# Contrast of an answer's text with what is behind it, by WCAG 2's formula.
CONTRAST = """made => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const shine = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const pre = made.querySelector('.llmops-label-answer pre');
  let behind = pre;
  while ((rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1) behind = behind.parentElement;
  const both = [getComputedStyle(pre).color, getComputedStyle(behind).backgroundColor]
    .map(text => shine(rgb(text))).sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}"""
