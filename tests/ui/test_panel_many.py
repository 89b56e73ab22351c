"""A hundred thousand traces in the panel: rows appear at once, none is missing, and few are in the document."""

from __future__ import annotations

import pytest
from labs import opened_panel, picture

import llmops_jupyter as lo
from benchmarks.filled import fill

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("panel_built")]
N = 100_000
MOST = 150  # rows in the document: those in view, and twice as many on both sides
# The rows that are in view, and whether they leave a gap: each has a text, and begins where the one above it ends.
IN_VIEW = """list => {
  const box = list.getBoundingClientRect();
  const rows = [...list.querySelectorAll('[role=option]')]
    .map(row => ({ box: row.getBoundingClientRect(), text: row.innerText.trim(),
      busy: row.querySelector('[aria-busy=true]') !== null, at: Number(row.getAttribute('aria-posinset')) }))
    .filter(row => row.box.bottom > box.top + 1 && row.box.top < box.bottom - 1)
    .sort((a, b) => a.box.top - b.box.top);
  const whole = rows.length > 2 && rows[0].box.top <= box.top + 1
    && rows[rows.length - 1].box.bottom >= Math.min(box.bottom, list.scrollHeight + box.top) - 1
    && rows.every((row, i) => row.text !== '' && !row.busy
      && (i === 0 || Math.abs(row.box.top - rows[i - 1].box.bottom) < 2 && row.at === rows[i - 1].at + 1));
  return { whole, first: rows[0]?.at, count: rows.length, drawn: list.querySelectorAll('[role=option]').length };
}"""
SETTLED = f"list => {{ const found = ({IN_VIEW})(list); return found.whole ? found : null; }}"


@pytest.fixture
def rows(lab, page, tmp_path):
    """The list of the panel over all those traces."""
    with lo.open(tmp_path / ".llmops") as ws:
        fill(ws, N)
    page.goto(lab()())
    panel = opened_panel(page)
    listed = panel.get_by_role("listbox", name="Traces, newest first")
    listed.get_by_role("option").first.wait_for(timeout=10_000)
    return listed


def settled(page, rows):
    """What is in view, as soon as it has no gap."""
    handle = rows.element_handle()
    found = page.wait_for_function(SETTLED, arg=handle, timeout=5_000).json_value()
    assert found["drawn"] <= MOST
    return found


def test_scrolling_far_down_and_back_leaves_no_gap(page, rows):
    assert settled(page, rows)["first"] == 1
    box = rows.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 200)
    seen = 1
    for _ in range(30):
        page.mouse.wheel(0, 2_500)  # more than two views at once
        page.wait_for_timeout(16)
        assert rows.evaluate(IN_VIEW)["drawn"] <= MOST
    first = settled(page, rows)["first"]
    assert first > seen + 500
    rows.focus()
    deep = first + 1_500  # by then rows near the top were let go of
    for _ in range(100):
        page.keyboard.press("End")  # of the rows that are known; more come each time
        first = settled(page, rows)["first"]
        if first > deep:
            break
    assert first > deep
    picture(page, "panel-many")
    while rows.evaluate("list => list.scrollTop") > 0:
        page.mouse.wheel(0, -9_000)
        settled(page, rows)
    page.keyboard.press("Home")
    assert settled(page, rows)["first"] == 1
