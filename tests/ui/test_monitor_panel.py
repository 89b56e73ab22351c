"""The panel of rules in a real JupyterLab: alarms, a timeline, buttons that work, no refresh while it is hidden."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from labs import opened, picture, wait_for

import llmops_jupyter as lo

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror='window.pwned=1'><script>window.pwned=2</script>"
LOAD = "%load_ext llmops_jupyter"
COUNTING = """
import threading, time, pathlib
def count():
    while True:
        names = [t.name for t in threading.enumerate()]
        part = pathlib.Path('threads.part')
        part.write_text(str(names.count('llmops-panel-monitor')))
        part.replace('threads.txt')
        time.sleep(0.1)
threading.Thread(target=count, daemon=True).start()
"""
CONTRAST = """(made, part) => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const shine = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = made.querySelector(part);
  let behind = found;
  while ((rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1) behind = behind.parentElement;
  const style = getComputedStyle(found);
  const colour = { text: style.fill, circle: style.fill, polyline: style.stroke, line: style.stroke }[found.tagName]
    ?? style.color;
  const both = [colour, getComputedStyle(behind).backgroundColor]
    .map(text => shine(rgb(text))).sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}"""


@pytest.fixture
def watched(tmp_path):
    """A store in the folder of JupyterLab with rules that were looked at a few times."""
    with lo.open(tmp_path / ".llmops") as ws:
        alerts = ws.monitor.alerts
        fail(ws, 40, 0)
        alerts.add(
            name="errors", metric="error_rate", warn=0.1, alert=0.2, note="ask ann <b>now</b>"
        )
        alerts.add(name="speed", metric="p95_latency_s", alert=30)
        alerts.add(name="thumbs", metric="score:thumb", alert=0.5)
        for bad in (0, 1, 2, 0, 4, 9):
            fail(ws, 12, bad)
            alerts.look()
        yield ws


def fail(ws, n, bad):
    """So many traces, of which some fail."""
    for place in range(n):
        with suppress(ValueError), ws.tracer.span("ask") as span:
            span.output(HOSTILE)
            if place < bad:
                raise ValueError(HOSTILE)


@pytest.fixture
def board(lab, page, tmp_path, watched):
    """Start a notebook with a panel; returns the widget."""

    def start(*cells):
        path = tmp_path / "panel.ipynb"
        return opened(page, lab, path, (LOAD, *cells), ".llmops-rules")

    return start


def test_alarms_are_seen_silenced_and_traced_to_what_was_said_and_nothing_in_it_runs(
    board, page, watched
):
    widget = board("%monitor panel")
    wait_for(widget, "3 rules: 1 warning, 1 no data, 1 ok")
    names = widget.locator(".llmops-rules-name")
    assert names.all_inner_texts() == ["errors", "thumbs", "speed"]
    assert widget.locator(".llmops-rules-heading").inner_text() == "errors"
    assert widget.locator(".llmops-rules-mark.llmops-rules-warning").count() >= 1
    assert widget.locator(".llmops-rules-limit").count() == 2
    assert widget.locator(".llmops-rules-band").count() == 1
    assert widget.get_by_text("ask ann <b>now</b>").count() == 1
    picture(widget, "rules")

    widget.get_by_role("button", name="Show traces").click()
    widget.locator(".llmops-rules-trace").first.wait_for()
    assert widget.locator(".llmops-rules-trace pre").first.inner_text() == HOSTILE
    assert widget.locator("img, script").count() == 0
    assert page.evaluate("window.pwned") is None

    widget.get_by_role("button", name="Silence 1 h").click()
    wait_for(widget, "silenced by")
    assert not watched.monitor.alerts.active()
    widget.get_by_role("button", name="End the silence").click()
    widget.get_by_role("button", name="Silence 1 h").wait_for()
    widget.get_by_role("button", name="Acknowledge").click()
    widget.get_by_text("known", exact=True).wait_for()
    assert widget.get_by_role("button", name="Acknowledge").is_disabled()

    fail(watched, 40, 40)
    widget.get_by_role("button", name="Look now").click()
    wait_for(widget, "3 rules: 1 alert, 1 no data, 1 ok")
    picture(widget, "rules-traces")


def test_it_is_used_with_keys_and_shows_what_others_do(board, page, watched):
    widget = board("%monitor panel speed")
    wait_for(widget, "p95_latency_s over 24h")
    widget.get_by_role("button", name="errors").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "speed"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    widget.locator(".llmops-rules-heading", has_text="errors").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "errors"
    watched.monitor.alerts.silence("speed", "1h")  # by another kernel
    widget.get_by_text("silenced", exact=True).wait_for(timeout=20_000)


def test_it_is_refreshed_only_while_it_can_be_seen(board, page, watched, tmp_path):
    widget = board(COUNTING, "%monitor panel", *(["pass\n" * 30] * 6))
    wait_for(widget, "3 rules")
    for place, number in ((0, 1), (100_000, 0), (0, 1)):
        scroll(page, place)
        assert threads(tmp_path, number) == number


def scroll(page, place):
    """Scroll the notebook to a place in pixels."""
    notebook = page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
    notebook.evaluate("(made, place) => { made.scrollTop = place; }", place)


def threads(folder, wanted):
    """How many threads of the kernel refresh panels, as soon as it is the wanted number; else after a while."""
    end = time.monotonic() + 30
    while (found := int((folder / "threads.txt").read_text())) != wanted and time.monotonic() < end:
        time.sleep(0.1)
    return found


def test_the_panel_is_read_in_the_dark_and_in_a_narrow_window(board, page, watched):
    widget = board("%monitor panel errors")
    wait_for(widget, "3 rules")
    widget.evaluate("made => { made.parentElement.style.width = '320px'; }")
    page.wait_for_timeout(300)
    assert widget.evaluate("made => made.scrollWidth <= made.clientWidth")
    picture(widget, "rules-narrow")
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.locator(".lm-MenuBar-itemLabel", has_text="Settings").first.click()
        page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
        page.locator(".lm-Menu-itemLabel", has_text=theme).first.click()
        page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
        page.wait_for_timeout(1000)
        for part, least in (
            ("text", 4.5),
            (".llmops-rules-warning .llmops-rules-badge", 4.5),
            (".llmops-rules-ok .llmops-rules-badge", 4.5),
            (".llmops-rules-no-data .llmops-rules-badge", 4.5),
            (".llmops-rules-promise", 4.5),
            (".llmops-rules-name", 4.5),
            (".llmops-rules-value", 3),
            (".llmops-rules-limit.llmops-rules-alert", 3),
            (".llmops-rules-limit.llmops-rules-warning", 3),
            (".llmops-rules-mark.llmops-rules-warning", 3),
        ):
            assert widget.evaluate(CONTRAST, part) > least, (theme, part)
    widget.evaluate("made => { made.parentElement.style.width = ''; }")
    page.wait_for_timeout(300)
    picture(widget, "rules-dark")
