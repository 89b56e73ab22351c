"""The side panel follows the store, whoever writes it and whatever the kernel does; it asks only while it is seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from labs import asked_of_us, opened_panel, run_all

import llmops_jupyter as lo

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("panel_built")]
WRITER = """
import sys
import llmops_jupyter as lo
with lo.open(sys.argv[1]) as ws, ws.tracer.span(sys.argv[2]) as span:
    span.output("an answer")
"""
# What a browser does when another of its tabs comes in front.
HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
  Object.defineProperty(document, 'visibilityState',
    {configurable: true, get: () => hidden ? 'hidden' : 'visible'});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
WATCHED_S = 4  # four times as long as the panel waits between two questions


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / ".llmops"
    with lo.open(folder):
        pass
    return folder


def write(store, name):
    """A trace by another process."""
    subprocess.run([sys.executable, "-c", WRITER, str(store), name], check=True, timeout=60)


def shown(panel, name):
    panel.get_by_role("option").filter(has_text=name).first.wait_for(timeout=5_000)


def questions(page, asked):
    """How often the page asked us in a while."""
    page.wait_for_timeout(500)  # what was under way when it began
    asked.clear()
    page.wait_for_timeout(1000 * WATCHED_S)
    return len(asked)


def test_a_trace_of_another_process_shows_without_a_notebook(lab, page, store):
    page.goto(lab()())
    panel = opened_panel(page)
    panel.get_by_text("%%prompt").first.wait_for(timeout=20_000)  # what to type, for it is empty
    write(store, "first-span")
    shown(panel, "first-span")
    write(store, "second-span")
    shown(panel, "second-span")
    assert "second-span" in panel.get_by_role("option").first.inner_text()


def test_nothing_is_asked_while_the_panel_or_the_page_is_hidden(lab, page, store):
    asked = asked_of_us(page)
    page.goto(lab()())
    page.get_by_role("tab", name="LLM operations").wait_for(timeout=60_000)
    assert questions(page, asked) == 0  # it was never opened
    panel = opened_panel(page)
    write(store, "first-span")
    shown(panel, "first-span")
    assert questions(page, asked) >= 2

    page.get_by_role("tab", name="Property Inspector").click()
    panel.wait_for(state="hidden")
    write(store, "second-span")
    assert questions(page, asked) == 0
    opened_panel(page)
    shown(panel, "second-span")

    page.evaluate(HIDE, True)
    write(store, "third-span")
    assert questions(page, asked) == 0
    assert panel.get_by_role("option").filter(has_text="third-span").count() == 0
    page.evaluate(HIDE, False)
    shown(panel, "third-span")


def test_it_follows_while_the_kernel_is_busy_and_after_it_was_killed(lab, page, store, tmp_path):
    path = tmp_path / "busy.ipynb"
    source = f"""
import os, time
open({str(tmp_path / "kernel.pid")!r}, "w").write(str(os.getpid()))
time.sleep(600)
"""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source)], metadata={"kernelspec": kernel}
    )
    nbformat.write(made, path)
    asked = asked_of_us(page)
    run_all(page, lab()(path.name))
    panel = opened_panel(page)
    page.locator("[data-status=busy]").first.wait_for(timeout=60_000)
    write(store, "while-busy")
    shown(panel, "while-busy")

    page.evaluate(HIDE, True)
    assert questions(page, asked) == 0  # nor for the status bar
    page.evaluate(HIDE, False)

    os.kill(written(tmp_path / "kernel.pid"), signal.SIGKILL)
    write(store, "after-its-end")
    shown(panel, "after-its-end")
    told = page.get_by_role("dialog", name="Kernel Restarting")
    told.get_by_role("button", name="Ok").click(timeout=20_000)
    panel.get_by_role("option").filter(has_text="after-its-end").click()
    panel.get_by_role("treegrid").wait_for(timeout=10_000)


def written(path):
    """The number that another process writes."""
    deadline = time.monotonic() + 30
    while not (path.is_file() and path.read_text("ascii")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text("ascii"))
