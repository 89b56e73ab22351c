"""Attacks in every field of the store and of an output: the panel shows them as text; nothing runs, nothing is fetched."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
from labs import LIVE, assert_quiet, opened_panel, picture, run_open

import llmops_jupyter as lo
from llmops_jupyter.render.trace import TRACE_MIME

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from attacks import attacking_output, fill_with_attacks

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("panel_built")]
SECTIONS = ("Traces", "Prompts", "Evaluations", "Models", "RAG", "Monitor")
ALIVE = LIVE.replace("'FORM', ", "")  # the panel has forms of its own
# Opens what is folded and points at everything.
OPEN_ALL = """root => {
  root.querySelectorAll('details').forEach(made => { made.open = true; });
  root.querySelectorAll('[aria-expanded=false]').forEach(made => made.click());
  root.querySelectorAll('*').forEach(made => {
    for (const kind of ['pointerover', 'mouseover', 'focus']) {
      made.dispatchEvent(new MouseEvent(kind, { bubbles: true }));
    }
  });
}"""


def looked_through(page, root, name):
    """Open what can be opened; nothing in it is live."""
    for _ in range(3):
        root.evaluate(OPEN_ALL)
        page.wait_for_timeout(250)
    picture(root, f"hostile-{name}")
    assert root.evaluate(ALIVE) == []


@pytest.fixture
def own(lab, tmp_path, begun_run):
    """The address of a Lab over a store of attacks, and its traces."""
    with lo.open(tmp_path / ".llmops") as ws:
        made = fill_with_attacks(ws, tmp_path, begun_run)
    address = lab("--LabApp.expose_app_in_browser=True")
    return address, re.match(r"http://[^/]+/", address())[0], made


def test_no_section_and_no_tab_obeys_what_it_shows(own, page, watched):
    address, origin, made = own
    page.goto(address())
    panel = opened_panel(page)
    for name in SECTIONS:
        panel.get_by_role("tab", name=name, exact=True).click()
        panel.get_by_text("pwned").first.wait_for(timeout=10_000)
        looked_through(page, panel, name)
        for at in range(min(3, panel.locator("[role=option]").count())):
            panel.get_by_role("tab", name=name, exact=True).click()  # back to the list
            panel.locator("[role=option]").nth(at).click(timeout=5_000)
            page.wait_for_timeout(400)
            looked_through(page, panel, f"{name}-{at}")
        assert_quiet(page, watched, origin)
    page.evaluate(
        "id => jupyterapp.commands.execute('llmops:open-trace', { traceId: id })", made["traces"][0]
    )
    tab = page.locator("#jp-main-dock-panel [role=treegrid]")
    tab.wait_for(timeout=10_000)
    looked_through(page, page.locator("#jp-main-dock-panel .jp-LLMOps").first, "tab")
    assert "pwned" in page.locator("#jp-main-dock-panel").inner_text()
    assert page.locator("#jp-main-statusbar").evaluate(LIVE) == []
    assert_quiet(page, watched, origin)


def test_no_output_and_no_badge_obeys_what_it_shows(own, page, watched, tmp_path):
    address, origin, made = own
    sent = nbformat.v4.new_output("display_data", {TRACE_MIME: attacking_output()})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [
        nbformat.v4.new_code_cell("%load_ext llmops_jupyter"),
        nbformat.v4.new_code_cell(f"%trace show {made['traces'][0]}"),
        nbformat.v4.new_code_cell("'not run'", outputs=[sent], metadata={"trusted": False}),
        nbformat.v4.new_code_cell("%%prompt reply\n{{ x }}", id="prompted"),
    ]
    path = tmp_path / "sent.ipynb"
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(made, path)
    with lo.open(tmp_path / ".llmops") as ws, ws.store.write() as conn:
        conn.execute("UPDATE spans SET notebook = ?, cell_id = 'prompted'", (str(path),))
        conn.execute("UPDATE spans SET prompt_name = 'reply', prompt_version = 2")
    page.goto(address(path.name))
    shown = page.locator(".jp-LLMOps-output")
    shown.get_by_text("pwned").first.wait_for(timeout=60_000)  # before anything has run
    looked_through(page, shown, "output")
    assert_quiet(page, watched, origin)

    run_open(page)
    page.wait_for_function(
        "() => document.querySelectorAll('.jp-LLMOps-output [role=treegrid]').length === 1",
        timeout=60_000,
    )
    looked_through(page, page.locator(".jp-Notebook"), "notebook")
    page.locator(".jp-LLMOps-cell button, button.jp-LLMOps-cell").first.click(timeout=20_000)
    changes = page.locator(".jp-LLMOps-changes")
    changes.get_by_text("pwned").first.wait_for(timeout=20_000)
    looked_through(page, changes, "changes")
    assert_quiet(page, watched, origin)
