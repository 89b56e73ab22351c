"""The playground in a real JupyterLab: typing, streaming, stopping, keeping, with keys, narrow and in the dark."""

from __future__ import annotations

import pytest
from labs import opened, picture, saved, wait_for

import llmops_jupyter as lo

pytestmark = pytest.mark.browser
HOSTILE = (
    "<img src=x onerror='window.pwned=1'><img src='http://leak.invalid/x'><script>window.pwned=2</script>"
    "<svg onload='window.pwned=3'></svg>"
)
# A kernel with an engine that writes a word every so often.
ENGINE = f"""
%load_ext llmops_jupyter
import time, llmops_jupyter as lo
from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.records import Timing, Usage

class Writer:
    provider = model_name = "writer"
    model_digest = "f" * 64
    context_length = 4096
    streams = True
    pause = 0.05

    def generate(self, requests):
        for request in requests:
            asked = request.messages[-1].content
            if "explode" in asked:
                raise ZeroDivisionError({HOSTILE!r})
            hot = request.sampling.temperature > 1
            words = (asked + (" warmly " if hot else " coolly ") + {HOSTILE!r}).split(" ")
            words += ["word"] * (200 if "long" in asked else 3)
            for word in words:
                time.sleep(self.pause)
                yield Token(request.id, word + " ")
            usage, timing = Usage(len(asked.split()), len(words)), Timing(0.05 * len(words), 0.05, 20.0)
            yield Finished(request.id, " ".join(words), "stop", usage, timing, 7)

    def count_tokens(self, prompt):
        return 3

ws = lo.open()
writer = Writer()
ws.engine.engine = lambda model=None: writer
name, city = "Ann", "Ulm"
"""


@pytest.fixture
def store(tmp_path):
    with lo.open(tmp_path / ".llmops") as ws:
        ws.prompts.save("greet", "Greet {{ name }}.")
        ws.prompts.save("greet", "Say hello to {{ name }} of {{ city }}.")
        ws.prompts.alias("greet@1", "production")
        ws.data.add("people", [{"name": "Bob"}, {"name": HOSTILE}, {"name": "Cem"}])
        yield ws


@pytest.fixture
def playing(lab, page, tmp_path, store):
    """Start a notebook with a playground; returns the widget and the notebook's path."""

    def start(*cells):
        path = tmp_path / "panel.ipynb"
        return opened(page, lab, path, (ENGINE, *cells), ".llmops-try"), path

    return start


def column(widget, key):
    return widget.get_by_role("region", name=f"Variant {key}", exact=True)


def test_variants_are_tried_kept_and_handed_over_and_nothing_in_them_runs(playing, page, store):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    widget, path = playing("%prompt panel greet")
    a, b = column(widget, "A"), column(widget, "B")
    assert a.get_by_role("textbox", name="Template").input_value() == (
        "Say hello to {{ name }} of {{ city }}."
    )
    assert widget.get_by_label("Where name comes from").input_value() == "name"
    widget.get_by_role("button", name="Add a variant").click()
    b.wait_for()
    assert page.evaluate("document.activeElement.dataset.place") == "B-template"
    b.get_by_label("Load a version into variant B").select_option("greet@1")
    b.locator("bdi", has_text="greet@1 · production").wait_for()
    b.locator("summary").first.click()
    b.get_by_label("temperature").fill("1.5")
    widget.get_by_label("Where name comes from").select_option("")
    widget.get_by_label("Value of name").fill("Mia")
    widget.get_by_role("button", name="Run all").click()
    stop = widget.get_by_role("button", name="Stop")
    a.get_by_text("A: answers …").wait_for()
    assert stop.is_enabled()
    wait_for(widget, "B: done")
    assert a.locator(".llmops-try-text").inner_text().startswith("Say hello to Mia of Ulm. coolly")
    assert HOSTILE in a.locator(".llmops-try-text").inner_text()
    assert b.locator(".llmops-try-text").inner_text().startswith("Greet Mia. warmly")
    wait_for(widget, "B against A: another text, temperature 1.5 instead of the usual one")
    assert stop.is_disabled()
    picture(widget, "playground")

    template = a.get_by_role("textbox", name="Template")
    template.fill("Welcome {{ name }}!")
    a.locator("bdi", has_text="no version").wait_for()
    assert a.get_by_text("A: done, of an earlier text or setting").count() == 1
    widget.get_by_label("Value of city").wait_for(state="detached")
    a.get_by_role("button", name="Save …").click()
    page.keyboard.type("warmer")
    page.keyboard.press("Enter")
    wait_for(widget, "Kept as greet@3.")
    assert store.prompts.get("greet@3").note == "warmer"
    a.get_by_role("button", name="Alias …").click()
    wait_for(a, "greet@production is version 1 now.")
    picture(widget, "playground-alias")
    a.get_by_role("button", name="Move it to version 3").click()
    wait_for(widget, "greet@production → version 3.")
    assert store.prompts.get("greet@production").version == 3

    b.get_by_role("button", name="As a cell").click()
    wait_for(widget, "Variant B as a cell")
    text = widget.get_by_label("Variant B as a cell").input_value()
    assert text == "%%prompt greet --temperature 1.5\nGreet {{ name }}.\n"
    assert widget.get_by_label("Its values").input_value() == "name = 'Mia'"

    widget.locator("summary", has_text="Rows of a data set").click()
    widget.get_by_label("data", exact=True).fill("people")
    widget.get_by_role("button", name="Run on these rows").click()
    widget.locator("tbody tr").nth(2).get_by_text("Greet Cem.").wait_for(timeout=30_000)
    assert HOSTILE in widget.locator("tbody tr").nth(1).inner_text()
    widget.get_by_label("scored by").fill("exact")
    widget.get_by_role("button", name="%evaluate compare …").click()
    wait_for(widget, "The comparison as a cell")
    assert widget.get_by_label("The comparison as a cell").input_value() == (
        "%evaluate compare greet@3 greet@1:temperature=1.5 --data people --metric exact"
    )
    widget.locator("summary", has_text="History (1)").click()
    trace = store.traces.newest(1, prompt="greet@1")[0].trace_id[:8]
    assert store.traces.get(trace).root.notebook
    picture(widget, "playground-rows")

    assert widget.locator("img, script, svg, iframe").count() == 0
    assert page.evaluate("window.pwned") is None
    assert [url for url in asked if "leak.invalid" in url] == []
    notebook = saved(page, path, 2)
    _, kept = (output.data for output in notebook.cells[1].outputs)
    assert kept["text/plain"].startswith("Playground of greet\n\nA · greet@2\nSay hello to Mia")
    assert "<img" not in kept["text/html"]
    page.locator(".jp-OutputArea-output summary", has_text="A · greet@2").first.wait_for()
    assert page.evaluate("window.pwned") is None
    page.reload()
    wait_for(page.locator(".llmops-try"), "B: done")
    assert column(widget, "A").get_by_role("textbox", name="Template").input_value() == (
        "Welcome {{ name }}!"
    )


def test_it_is_used_with_keys_and_an_answer_is_stopped_while_it_comes(playing, page, store):
    widget, path = playing("%prompt panel")
    template = column(widget, "A").get_by_role("textbox", name="Template")
    template.focus()
    page.keyboard.type("A long story for {{ name }}")
    page.keyboard.press("Shift+Enter")  # a line of the text, not a cell
    page.keyboard.type("now")
    page.keyboard.press("Control+Enter")
    text = column(widget, "A").locator(".llmops-try-text")
    widget.get_by_text("A: answers …").wait_for()
    text.get_by_text("A long story for Ann").wait_for()
    page.evaluate(COUNTING)
    page.wait_for_timeout(2000)
    updates = page.evaluate("window.updates")
    assert 10 <= updates <= 40, updates
    assert page.evaluate("document.activeElement.dataset.place") == "A-template"
    stop = widget.get_by_role("button", name="Stop")
    stop.focus()
    page.keyboard.press("Enter")
    wait_for(widget, "A: stopped")
    kept = text.inner_text()
    assert kept.startswith("A long story for Ann\nnow")
    assert kept.count("word") < 200
    trace = store.traces.newest(1)[0]
    assert trace.status == "interrupted"
    page.keyboard.press("Escape")

    template.fill("explode")
    page.keyboard.press("Control+Enter")
    wait_for(widget, "A: failed")
    assert HOSTILE in column(widget, "A").locator(".llmops-try-error").inner_text()
    template.fill("{{ broken")
    column(widget, "A").get_by_role("button", name="Run variant A").click()
    widget.get_by_role("status").filter(has_text="Variables are written").wait_for()
    picture(widget, "playground-error")
    column(widget, "A").get_by_role("button", name="Save …").click()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Save …"
    assert page.evaluate("window.pwned") is None
    saved(page, path, 2)


def test_the_notebook_is_free_while_it_runs(playing, page, store):
    widget, _ = playing("%prompt panel greet", "began = 1")
    column(widget, "A").get_by_role("textbox", name="Template").fill("A long one for {{ name }}")
    widget.get_by_role("button", name="Run all").click()
    wait_for(widget, "A: answers …")
    page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("print('free', 6 * 7)")
    page.keyboard.press("Control+Enter")
    page.get_by_text("free 42", exact=True).wait_for(timeout=5_000)
    assert widget.get_by_text("A: answers …").count() == 1
    widget.get_by_role("button", name="Stop").click()
    wait_for(widget, "A: stopped")


def test_the_panel_is_read_in_the_dark_and_in_a_narrow_window(playing, page, store):
    widget, _ = playing("%prompt panel greet@1")
    for _ in range(3):
        widget.get_by_role("button", name="Add a variant").click()
    column(widget, "D").wait_for()
    assert widget.get_by_role("button", name="Add a variant").is_disabled()
    page.evaluate("window.scrollTo(0, 0)")
    tops = {column(widget, key).bounding_box()["y"] for key in "ABCD"}
    widget.get_by_role("button", name="Run all").click()
    wait_for(widget, "D: done")
    picture(widget, "playground-four")
    assert len(tops) == 1
    widget.evaluate("made => { made.parentElement.style.width = '300px'; }")
    page.wait_for_timeout(300)
    assert widget.evaluate("made => made.scrollWidth <= made.clientWidth")
    left = {round(column(widget, key).bounding_box()["x"]) for key in "ABCD"}
    assert len(left) == 1
    picture(widget, "playground-narrow")
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.locator(".lm-MenuBar-itemLabel", has_text="Settings").first.click()
        page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
        page.locator(".lm-Menu-itemLabel", has_text=theme).first.click()
        page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
        page.wait_for_timeout(1000)
        for part in (
            ".llmops-try-text",
            ".llmops-try-line",
            ".llmops-try-state",
            ".llmops-try-ref",
            ".llmops-try-title",
            ".llmops-try-verdict",
            "summary",
            "textarea",
            "select",
            ".llmops-try-run",
        ):
            assert widget.evaluate(CONTRAST, part) > 4.5, (theme, part)
    widget.evaluate("made => { made.parentElement.style.width = ''; }")
    page.wait_for_timeout(300)
    picture(widget, "playground-dark")


COUNTING = """() => {
  window.updates = 0;
  new MutationObserver(() => window.updates++).observe(
    document.querySelector('.llmops-try-text'), { characterData: true, childList: true, subtree: true });
}"""

# Contrast of a part's text with the colours behind it laid over each other, by WCAG 2's formula.
CONTRAST = """(made, part) => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const shine = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const layers = [];
  for (let at = made.querySelector(part); at; at = at.parentElement) {
    const layer = rgb(getComputedStyle(at).backgroundColor);
    layers.push(layer);
    if ((layer[3] ?? 1) === 1) break;
  }
  const behind = layers.reverse().reduce((below, [r, g, b, a = 1]) =>
    [r, g, b].map((c, i) => a * c + (1 - a) * below[i]), [255, 255, 255]);
  const text = rgb(getComputedStyle(made.querySelector(part)).color);
  const both = [shine(text), shine(behind)].sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}"""
