"""The side panel in a real JupyterLab: the quickstart is seen, compared, promoted and rolled back."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from labs import opened_panel, picture, run_all

import llmops_jupyter as lo

pytestmark = pytest.mark.browser

FOLDER = Path(__file__).parents[2] / "notebooks"
NAME = "01_quickstart.ipynb"


def aliases(path):
    with lo.open(path, read_only=True) as ws:
        found = ws.prompts.history("capital")
        return {alias: v.version for v in found for alias in v.aliases}


@pytest.mark.model
def test_the_quickstart_arrives_and_a_version_is_promoted_and_rolled_back(
    lab, page, tmp_path, model_path, panel_built
):
    notebook = nbformat.read(FOLDER / NAME, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, tmp_path / NAME)
    run_all(page, lab()(NAME))
    panel = opened_panel(page)

    rows = panel.get_by_role("option")
    rows.filter(has_text="capital@").first.wait_for(timeout=120_000)
    page.locator("[data-status=idle]").first.wait_for(timeout=240_000)
    picture(page, "panel-traces")
    rows.filter(has_text="capital@").first.dblclick()
    tree = panel.get_by_role("treegrid")
    tree.wait_for(timeout=20_000)
    picture(page, "panel-trace")

    panel.get_by_role("tab", name="Prompts").click()
    panel.get_by_text("capital", exact=True).first.click()
    panel.get_by_text("What changed").wait_for(timeout=20_000)
    picture(page, "panel-prompt")
    panel.get_by_text("removed").first.wait_for(timeout=20_000)  # told in words too
    assert aliases(tmp_path) == {"production": 1}

    panel.get_by_role("button", name="Promote").click()
    panel.get_by_role("form", name="Promote version 2").locator("[type=submit]").click()
    asked = page.get_by_role("dialog").last
    asked.get_by_text("version 1").first.wait_for(timeout=20_000)
    picture(page, "panel-promote")
    asked.get_by_role("button", name="Promote").click()
    back = panel.get_by_role("button", name="Roll production back to version 1")
    back.wait_for(timeout=20_000)
    assert aliases(tmp_path) == {"production": 2}

    back.click()
    asked = page.get_by_role("dialog").last
    asked.get_by_text("version 1").first.wait_for(timeout=20_000)
    asked.locator("button.jp-mod-accept").click()
    back.wait_for(state="detached", timeout=20_000)
    assert aliases(tmp_path) == {"production": 1}
    with lo.open(tmp_path, read_only=True) as ws:
        moves = [c.version for c in ws.prompts.alias_log("capital")]
    assert moves[-2:] == [2, 1]
