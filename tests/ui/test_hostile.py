"""A store full of attacks in a real JupyterLab, and the same notebook as nbconvert's page: nothing runs, nothing is
fetched.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from hostile_values import KEPT
from labs import LIVE, SCREENSHOTS, assert_quiet, run_all, saved

import llmops_jupyter as lo

pytestmark = pytest.mark.browser
TEXT = KEPT.replace("\n", " ")
KERNEL = f"""
%load_ext llmops_jupyter
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "unit")!r})
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import llmops_jupyter as lo
from engine_fakes import FakeEngine, plug
from hostile_values import HOSTILE, KEPT
from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.records import Completion, Verdict
ws = lo.open()
engine = plug(ws, FakeEngine(lambda text: KEPT, thought=KEPT, notes=(KEPT,)))
engine.model_name, engine.context_length = KEPT, 8000
evil = KEPT
rows = [{{"evil": KEPT, "expected": KEPT, "topic": KEPT}} for _ in range(12)]
"""
CELLS = (
    "%%prompt evil\n{{ evil }}",
    "%%prompt evil --over rows\nother {{ evil }}",
    "%prompt history evil",
    "%prompt diff evil@1 evil@2",
    "%trace show",
    "%trace search pwned",
    "%data show evil",
    "%evaluate run evil@1 --data rows --metric exact",
    "%evaluate show 1",
    "%evaluate compare evil@1 evil@2 --data rows --metric exact --slices topic",
    "%rag search manual pwned",
    "%rag ask manual 'what is pwned'",
    "%monitor cost --by model",
    "%monitor status",
    (
        "Completion(HOSTILE, reasoning=HOSTILE, tool_calls=[{'name': HOSTILE, 'arguments': {'a': HOSTILE}, "
        "'result': HOSTILE, 'step': 1}], notes=(HOSTILE,), prompt_version=HOSTILE)"
    ),
    "try:\n    raise LLMOpsError(HOSTILE)\nexcept LLMOpsError as e:\n    print(*e._render_traceback_())",
    "%prompt panel evil",
    "%rag panel manual pwned",
    "%monitor panel",
    "%finetune panel tickets",
    "%evaluate label 1 --name ok --by ann",
)
PANELS = (".llmops-try", ".llmops-search", ".llmops-rules", ".llmops-tuning", ".llmops-label")


@pytest.fixture
def store(tmp_path, begun_run):
    with lo.open(tmp_path / ".llmops") as ws:
        ws.data.add("evil", [{"id": TEXT, "question": KEPT, TEXT[:80]: KEPT}], note=KEPT)
        for n in range(2):
            ws.prompts.save("evil", f"{{% raw %}}{KEPT} {n}{{% endraw %}}", note=KEPT)
        ws.prompts.alias("evil@1", "production", KEPT)
        ws.rag.add("manual", [{"id": TEXT[:200], "text": KEPT}], embedder="none")
        ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.2, note=KEPT)
        ws.monitor.alerts.silence("errors", "1h", why=KEPT)
        _, _, events = begun_run(ws, "20260101-000000-aaaa", "tickets", [(KEPT, KEPT)])
        events.add({"kind": "sample", "when": "after", "number": 0, "text": KEPT})
        events.add({"kind": "end", "ended": "failed", "step": 0, "message": KEPT})
        yield ws


def notebook_at(path):
    """A notebook with all cells; each has an output of ours that is hostile."""
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in (KERNEL, *CELLS)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(made, path)


def test_nothing_in_a_notebook_runs_or_is_fetched(lab, page, tmp_path, store, watched):
    path = tmp_path / "hostile.ipynb"
    notebook_at(path)
    address = lab()(path.name)
    own = re.match(r"http://[^/]+/", address)[0]
    page.set_viewport_size({"width": 1280, "height": 30_000})  # so that all of it is shown
    run_all(page, address)
    for panel in PANELS:
        page.locator(panel).wait_for(timeout=120_000)
    page.locator(".llmops-try").get_by_role("button", name="Run all").click()
    page.locator(".llmops-try").get_by_text("A: done").wait_for()
    notebook = saved(page, path, len(CELLS) + 1)
    for cell in notebook.cells[1:-1]:  # of labelling a notebook keeps how far it is
        assert "pwned" in str(cell.outputs), cell.source
    outputs = page.locator(".jp-Notebook")
    outputs.evaluate(
        "root => root.querySelectorAll('details').forEach(made => { made.open = true; })"
    )
    page.wait_for_timeout(2000)  # formulas are set after a while
    assert outputs.evaluate(LIVE) == []
    for part in page.locator(".jp-OutputArea-output p, .jp-OutputArea-output summary").all()[:200]:
        if part.is_visible():
            part.dispatch_event("mouseover")
    if SCREENSHOTS:
        page.locator(".jp-Notebook").screenshot(path=Path(SCREENSHOTS) / "hostile.png")
    assert_quiet(page, watched, own)

    # What was saved is shown again before anything has run.
    watched["requests"].clear()
    page.reload()
    page.locator(".jp-OutputArea-output").first.wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    assert page.locator(".jp-Notebook").evaluate(LIVE) == []
    assert_quiet(page, watched, own)
    check_page(page, watched, notebook, tmp_path)


def check_page(page, watched, notebook, folder):
    """The same as nbconvert's page in the browser."""
    exporter = pytest.importorskip("nbconvert").HTMLExporter()
    exporter.mathjax_url = exporter.require_js_url = exporter.mermaid_js_url = ""
    made, _ = exporter.from_notebook_node(notebook)
    target = folder / "hostile.html"
    target.write_text(made, "utf-8", "replace")
    for what in ("(prompt panel)", "(search panel)", "(panel of rules)", "(labelling widget)"):
        assert what in made
    page.goto("about:blank")  # JupyterLab asks its server up to its end
    watched["requests"].clear()
    page.goto(target.as_uri())
    body = page.locator("main")
    body.wait_for()
    page.wait_for_timeout(1000)
    body.evaluate("root => root.querySelectorAll('details').forEach(made => { made.open = true; })")
    assert body.evaluate(LIVE.replace("&& !made.closest('.llmops-panel')", "")) == []
    assert_quiet(page, watched, "file:")
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / "hostile-page.png", full_page=True)
