"""The panel of a fine-tuning run in a real JupyterLab: the curve grows, the buttons work, nothing in it runs."""

from __future__ import annotations

import pytest
from labs import opened, picture, saved, wait_for

import llmops_jupyter as lo
from llmops_jupyter.finetune import job

pytestmark = pytest.mark.browser
HOSTILE = (
    "<img src=x onerror='window.pwned=1'><img src='http://leak.invalid/x'><script>window.pwned=2</script>"
    "<svg onload='window.pwned=3'></svg>\n  two lines"
)
LOAD = "%load_ext llmops_jupyter"
RUN = "20260101-000000-aaaa"


@pytest.fixture
def tuning(tmp_path, begun_run):
    """A run in the folder of JupyterLab that goes on as the test says, and one before it."""
    with lo.open(tmp_path / ".llmops") as ws:
        _, _, old = begun_run(ws, "20251231-000000-0000", "mails")
        learn(old, 1, 4, of=4)
        old.add({"kind": "end", "ended": "finished", "step": 4})
        _, folder, events = begun_run(
            ws, RUN, "tickets", [("Where is my order?", HOSTILE), ("And now?", "Soon.")]
        )
        yield ws, folder, events


@pytest.fixture
def following(lab, page, tmp_path, tuning):
    """Start a notebook with a panel; returns the widget and the notebook's path."""

    def start(*cells):
        path = tmp_path / "panel.ipynb"
        return opened(page, lab, path, (LOAD, *cells), ".llmops-tuning"), path

    return start


def learn(events, first, last, of=200):
    for n in range(first, last + 1):
        at = {"step": n, "steps": of, "seconds": n / 4, "tokens": 500 * n}
        loss = 0.8 + 2.5 / n**0.5 + (n * 7919 % 13) / 30
        events.add({"kind": "step", "loss": loss, "smoothed": 0.9 + 2.6 / n**0.5, **at})
        if n % 20 == 0:
            events.add({"kind": "eval", "loss": 0.9 + 2.2 / n**0.5, "best": True, **at})


def points(widget):
    """Steps of the curve that are drawn."""
    return len(widget.locator(".llmops-tuning-mean").get_attribute("points").split())


def test_the_curve_grows_and_the_run_is_stopped_and_nothing_in_it_runs(
    following, tuning, page, tmp_path
):
    _, folder, events = tuning
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    events.add({"kind": "phase", "text": "training"})
    events.add({"kind": "sample", "when": "before", "number": 0, "text": HOSTILE})
    learn(events, 1, 30)
    widget, path = following("%finetune panel tickets")
    wait_for(widget, "30 of 200")
    assert points(widget) == 30
    assert widget.locator(".llmops-tuning-look").count() == 1
    assert widget.get_by_text("1.392 at step 20").count() == 1
    assert widget.get_by_text("2,000 tokens/s").count() == 1
    assert widget.get_by_text("42 s").count() == 1
    last = widget.locator(".llmops-tuning-mean").bounding_box()["width"]
    learn(events, 31, 120)
    wait_for(widget, "120 of 200")
    assert points(widget) == 120
    assert widget.locator(".llmops-tuning-mean").bounding_box()["width"] > 3 * last
    assert widget.locator(".llmops-tuning-look").count() == 6
    picture(widget, "tuning")

    stop, resume = (widget.get_by_role("button", name=n) for n in ("Stop", "Resume"))
    assert stop.is_enabled()
    assert resume.is_disabled()
    stop.click()
    wait_for(widget, "running, stops after this step")
    assert (folder / job.STOP).exists()
    assert stop.is_disabled()
    events.add({"kind": "sample", "when": "after", "number": 0, "text": HOSTILE * 2})
    events.add({"kind": "end", "ended": "stopped", "step": 120})
    widget.locator("dd").get_by_text("stopped", exact=True).wait_for()
    assert resume.is_enabled()
    assert stop.is_disabled()
    assert widget.locator("pre").nth(1).inner_text() == HOSTILE
    assert widget.locator("pre").nth(3).inner_text() == HOSTILE * 2
    resume.click()  # its base was never registered
    widget.get_by_role("status").filter(has_text="base").wait_for()
    assert widget.locator("img, script, svg svg").count() == 0
    assert page.evaluate("window.pwned") is None
    assert [url for url in asked if "leak.invalid" in url] == []

    notebook = saved(page, path, 2)
    _, kept = (output.data for output in notebook.cells[1].outputs)
    assert kept["text/plain"].startswith("tickets · stopped · step 120 of 200")
    assert "data:image/png;base64," in kept["text/html"]
    assert HOSTILE not in kept["text/html"]
    page.locator("summary", has_text="tickets · stopped").click()
    drawn = page.locator("details img[alt='loss over steps']")
    assert drawn.evaluate("made => made.complete && made.naturalWidth > 500")
    assert page.evaluate("window.pwned") is None


def test_another_run_is_chosen_and_the_kernel_stays_free(following, tuning, page, tmp_path):
    _, _, events = tuning
    learn(events, 1, 5)
    widget, path = following(
        "%finetune panel", "import time; began = time.monotonic(); sum(range(10)); print('free')"
    )
    wait_for(widget, "5 of 200")
    widget.get_by_label("Run", exact=True).select_option("20251231-000000-0000")
    wait_for(widget, "4 of 4")
    assert widget.get_by_role("button", name="Stop").is_disabled()
    assert widget.get_by_role("button", name="Resume").is_disabled()
    widget.get_by_label("Run", exact=True).select_option(RUN)
    wait_for(widget, "5 of 200")
    learn(events, 6, 9)
    wait_for(widget, "9 of 200")
    saved(page, path, 3)  # once the kernel is idle


def test_the_panel_is_read_in_the_dark_and_in_a_narrow_window(following, tuning, page):
    _, _, events = tuning
    learn(events, 1, 130)
    events.add({"kind": "sample", "when": "before", "number": 0, "text": "word " * 60})
    widget, _ = following("%finetune panel")
    wait_for(widget, "130 of 200")
    widget.evaluate("made => { made.parentElement.style.width = '300px'; }")
    page.wait_for_timeout(300)
    assert widget.evaluate("made => made.scrollWidth <= made.clientWidth")
    assert widget.locator("svg").evaluate("made => made.clientWidth") < 300
    picture(widget, "tuning-narrow")
    page.locator(".lm-MenuBar-itemLabel", has_text="Settings").first.click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
    page.locator("body[data-jp-theme-name='JupyterLab Dark']").wait_for(state="attached")
    page.wait_for_timeout(1000)
    for part, least in (
        ("text", 4.5),
        ("dt", 4.5),
        ("dd", 4.5),
        ("pre", 4.5),
        (".llmops-tuning-mean", 3),
        (".llmops-tuning-looks", 3),
    ):
        assert widget.evaluate(CONTRAST, part) > least, part
    picture(widget, "tuning-dark-narrow")
    widget.evaluate("made => { made.parentElement.style.width = ''; }")
    page.wait_for_timeout(300)
    picture(widget, "tuning-dark")


# Contrast of a part's text or line with what is behind it, by WCAG 2's formula.
CONTRAST = """(made, part) => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const shine = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = made.querySelector(part);
  let behind = found;
  while ((rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1) behind = behind.parentElement;
  const style = getComputedStyle(found);
  const colour = { text: style.fill, polyline: style.stroke }[found.tagName] ?? style.color;
  const both = [colour, getComputedStyle(behind).backgroundColor]
    .map(text => shine(rgb(text))).sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}"""
