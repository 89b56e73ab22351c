"""The panel for those who do not see it, use no mouse, need contrast, or have little room."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from labs import opened_panel, picture

import llmops_jupyter as lo

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from contents import fill

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("panel_built")]
AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
SECTIONS = ("Traces", "Prompts", "Evaluations", "Models", "RAG", "Monitor")
THEMES = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")
VIOLATIONS = """async () => {
  const found = await axe.run('#llmops-jupyter-panel', { resultTypes: ['violations'] });
  return found.violations.flatMap(({ id, nodes }) => nodes.map(node =>
    `${id}: ${node.html.slice(0, 160)} ${node.any.map(one => one.message).join('; ').slice(0, 200)}`));
}"""
# What is wider than the panel, and is not inside something that scrolls by itself.
TOO_WIDE = """root => {
  const edge = root.getBoundingClientRect();
  const scrolls = made => { for (let up = made.parentElement; up && up !== root; up = up.parentElement) {
    if (up.scrollWidth > up.clientWidth && ['auto', 'scroll'].includes(getComputedStyle(up).overflowX)
      && !up.classList.contains('jp-LLMOps-section')) return true;
    if (['hidden', 'clip'].includes(getComputedStyle(up).overflowX)) return true; } return false; };
  return [...root.querySelectorAll('.jp-LLMOps *')].filter(made => {
    const box = made.getBoundingClientRect();
    return box.width > 1 && (box.right > edge.right + 1 || box.left < edge.left - 1) && !scrolls(made)
      && getComputedStyle(made).clipPath === 'none' && !made.closest('svg');
  }).map(made => made.outerHTML.slice(0, 160));
}"""
LOADED = "() => !document.querySelector('#llmops-jupyter-panel .jp-LLMOps-loading')"
OPEN_ALL = """root => {
  root.querySelectorAll('details').forEach(made => { made.open = true; });
  root.querySelectorAll('button[aria-expanded=false]').forEach(made => made.click());
}"""


@pytest.fixture(scope="module")
def address(shared_lab):
    """Of a Lab over a store that has something in every section."""
    start, folder = shared_lab
    with lo.open(folder / ".llmops") as ws:
        fill(ws, folder)
    return f"{start('--LabApp.expose_app_in_browser=True')()}&reset"


@pytest.fixture
def panel(address, page):
    page.goto(address)
    page.locator(".jp-Launcher").wait_for(timeout=60_000)  # it takes the focus when it comes
    return opened_panel(page)


def each_view(page, panel):
    """Every section, with all that can be opened opened; and the first item of those that lead to another view."""
    for name in SECTIONS:
        panel.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_function(LOADED, timeout=20_000)
        option = panel.locator("[role=option]").first
        if name in ("Traces", "Prompts"):
            option.wait_for(timeout=10_000)
        panel.evaluate(OPEN_ALL)
        page.wait_for_timeout(300)
        yield name
        if option.count():
            option.click()
            page.wait_for_function(LOADED, timeout=20_000)
            panel.evaluate(OPEN_ALL)
            page.wait_for_timeout(300)
            yield f"{name}, one of them"


def test_axe_finds_nothing_in_any_theme(page, panel):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in labextension/)")
    page.add_script_tag(path=AXE)
    found = {}
    for theme in THEMES:
        page.evaluate(
            "theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme
        )
        page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(
            state="attached", timeout=20_000
        )
        for view in each_view(page, panel):
            picture(panel, f"axe-{theme.split()[-1]}-{view}")
            wrong = page.evaluate(VIOLATIONS)
            if wrong:
                found[theme, view] = wrong
    assert found == {}


def focused(page):
    return page.evaluate(
        "() => { const at = document.activeElement; return at.getAttribute('role') + ' '"
        " + (at.getAttribute('aria-label') || at.innerText).trim(); }"
    )


def test_the_keyboard_leads_to_a_trace_and_back(page, panel):
    panel.locator("[role=option]").first.wait_for(timeout=10_000)
    panel.get_by_role("tab", name="Traces").focus()
    page.keyboard.press("End")
    assert focused(page) == "tab Monitor"
    page.keyboard.press("ArrowRight")
    assert focused(page) == "tab Traces"
    panel.locator("[role=option]").first.wait_for(timeout=10_000)
    for _ in range(12):
        page.keyboard.press("Tab")
        if focused(page).startswith("listbox"):
            break
    assert focused(page) == "listbox Traces, newest first"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    region = panel.get_by_role("region", name="Trace", exact=True)
    region.wait_for(timeout=10_000)
    panel.get_by_role("treegrid").wait_for(timeout=10_000)
    title = region.locator(".jp-LLMOps-detail-title").inner_text()
    page.keyboard.press("j")
    page.wait_for_function(
        "was => { const now = document.querySelector('.jp-LLMOps-detail-title');"
        " return now !== null && now.innerText !== was; }",
        arg=title,
    )
    panel.get_by_role("treegrid").wait_for(timeout=10_000)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.closest('[role=treegrid]') !== null"):
            break
    else:
        pytest.fail("Tab does not reach the spans")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.closest('[role=treegrid]') !== null")
    page.keyboard.press("Escape")
    panel.get_by_role("listbox").wait_for(timeout=10_000)
    assert focused(page) == "listbox Traces, newest first"


def test_nothing_is_cut_at_250_pixels(page, panel):
    panel.evaluate(
        "made => { document.body.appendChild(Object.assign(document.createElement('style'), { textContent:"
        " '#llmops-jupyter-panel { width: 250px !important; min-width: 0 !important }' })); }"
    )
    assert panel.bounding_box()["width"] == 250
    found = {}
    for view in each_view(page, panel):
        picture(panel, f"narrow-{view}")
        section = panel.locator(".jp-LLMOps-section")
        wide = section.evaluate("made => made.scrollWidth - made.clientWidth")
        wrong = panel.evaluate(TOO_WIDE)
        if wide > 0 or wrong:
            found[view] = (wide, wrong)
    assert found == {}
