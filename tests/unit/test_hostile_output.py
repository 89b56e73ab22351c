"""Whatever shows itself is attacked: nothing is live in its page, nothing is obeyed in its text, no picture breaks.

Classes and functions are found by looking through the package, so that a new one is attacked as well, or fails here
until it says how it is made.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import sys
from types import SimpleNamespace

import pytest
from annotators import ROWS, judge
from engine_fakes import FakeEngine, plug
from hostile_values import HOSTILE, KEPT, OBEYED, Builder, classes, live_in, modules, sources
from markdown_renderers import assert_inert
from playground_fakes import until
from rag_fakes import WordEngine

from llmops_jupyter import errors, render
from llmops_jupyter.cli import output
from llmops_jupyter.data.dataset import Dataset
from llmops_jupyter.evaluation.outcomes import GateReport
from llmops_jupyter.evaluation.reports import junit, markdown
from llmops_jupyter.evaluation.suites import Gate
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.magics.display import Live
from llmops_jupyter.monitor.alerts.goldenruns import GoldenRun, Quality
from llmops_jupyter.monitor.alerts.ledger import Mark
from llmops_jupyter.monitor.alerts.overview import Overview
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.cost.lines import CostLine, Mean
from llmops_jupyter.monitor.cost.spikereport import Spike
from llmops_jupyter.prompts.stage import Prompts
from llmops_jupyter.records import Completion, Figure, Grounding, Table
from llmops_jupyter.render import plots
from llmops_jupyter.store import Store

SHOWS = re.compile(r"_repr_(mimebundle|html|png|svg|jpeg|markdown|latex|json|javascript)_")
AT = "2026-01-01T00:00:00+00:00"
PNG = b"\x89PNG\r\n\x1a\n"
CALLS = ({"name": HOSTILE, "arguments": {HOSTILE: HOSTILE}, "result": HOSTILE, "step": 1},)
ROW = {HOSTILE: HOSTILE, "question": HOSTILE}


def shown():
    """Names of all classes of which a notebook shows more than a text."""
    found = []
    for name, cls in classes().items():
        own = any(SHOWS.fullmatch(attribute) for attribute in vars(cls))
        above = {base.__name__ for base in cls.__mro__[1:]}
        if (own or above & {"Picture", "Panel"}) and not inspect.isabstract(cls):
            found.append(name.removeprefix("llmops_jupyter."))
    return sorted(found)


@pytest.fixture
def builder(ws):
    """Makes hostile objects; what has rules of its own is made so that it keeps them."""
    made = Builder()
    kept = ws.data.add("kept", [{"id": KEPT, "question": KEPT, KEPT[:40]: KEPT}])
    line = {
        "figures": {"cost": Figure(0.5, "$", "estimated"), "seconds": Figure(1.0, "s", "measured")},
        "means": {"seconds": Mean(1.0, 3, None), "cost": Mean(1.0, 3, None)},
    }
    looks = [
        {"at_ns": n * 10**18, "value": 0.5, "low": 0.1, "high": 0.9, "state": state, "traces": []}
        for n, state in enumerate(("ok", "alert", "no data"), 1)
    ]
    made.given |= {
        Store: ws.store,
        Dataset: kept,
        Variant: Variant(prompt=HOSTILE),
        Rule: lambda: made.make(Rule, metric="error_rate", severity="normal", direction="above"),
        CostLine: lambda: made.make(CostLine, **line),
        Completion: lambda: made.make(Completion, tool_calls=CALLS, finish_reason=HOSTILE),
        Gate: lambda: made.make(Gate, kind="at_least"),
        Recipe: Recipe(),
        Mark: lambda: made.make(Mark, until=AT),
        GoldenRun: lambda: made.make(GoldenRun, at=AT),
        Quality: lambda: made.make(
            Quality, corrected={"value": 0.5, "low": 0.1, "high": 0.9, "how": HOSTILE}
        ),
        Overview: lambda: made.make(Overview, failed=({**ROW, "at": AT},), golden=(ROW,)),
        Spike: lambda: made.make(Spike, began_at=AT, detected_at=AT),
        Prompts: ws.prompts,
    }
    made.looks = looks
    return made


def masking(builder, ws):
    from llmops_jupyter.data.preparing.masking import Preview

    row = {
        "row": HOSTILE,
        "learned": HOSTILE,
        "tokens": 9,
        "pieces": [(HOSTILE, True), (HOSTILE, False)],
    }
    return Preview([row])


def prepared(builder, ws):
    rows = [{"question": f"{KEPT} {n}", "answer": KEPT, "label": KEPT} for n in range(9)]
    ws.data.add("source", [*rows, rows[0], {**rows[1], "answer": "other"}])
    return ws.data.prepare("source")


def drift(builder, ws):
    rows = [{"input": f"{KEPT} {n}", "label": KEPT, KEPT[:50]: n % 7} for n in range(80)]
    ws.monitor.baseline("usual", rows, embedder="none")
    other = [{"input": f"new {n}", "label": HOSTILE[:90], KEPT[:50]: n % 7 + 9} for n in range(80)]
    return ws.monitor.check("usual", other, calibrated=False)


def drift_picture(name):
    def make(builder, ws):
        from llmops_jupyter.monitor.drift import plots as drawn

        report = drift(builder, ws)
        kinds = {"Distribution": report.reference.categories, "Timeline": report.reference.numbers}
        return getattr(drawn, name)(report, next(iter(kinds[name])))

    return make


def stream(builder, ws):
    drift(builder, ws)
    made = ws.monitor.stream("usual")
    made.update([{"input": f"x {n}", "label": KEPT, KEPT[:50]: n} for n in range(60)])
    return made


def baseline(builder, ws):
    drift(builder, ws)
    return ws.monitor.baselines()[0]


def plane(builder, ws):
    from llmops_jupyter.monitor.drift.plots import Map

    plug(ws, WordEngine())
    first = [{"input": f"{KEPT} valve {n}"} for n in range(60)]
    second = [{"input": f"pump {HOSTILE[:60]} {n}"} for n in range(60)]
    ws.monitor.baseline("texts", first, embedder="words")
    report = ws.monitor.check("texts", second, calibrated=False)
    return Map(report, next(iter(report.window.vectors)))


def power(builder, ws):
    from llmops_jupyter.evaluation.charts import Power

    return Power((10, 100), (0.3, 0.1), 50, 0.8)


def table(builder, ws):
    done = builder.make(Completion)
    return Table([done, done], [ROW, ROW], ["a", HOSTILE], [])


def rule_picture(builder, ws):
    from llmops_jupyter.monitor.alerts.timelines import Timeline

    return Timeline(builder.make(Rule), builder.looks)


def playground(builder, ws):
    from llmops_jupyter.panels.prompt import PromptPanel

    plug(ws, FakeEngine(lambda _: HOSTILE))
    made = PromptPanel(ws, ws.prompts.playground(None, {"name": HOSTILE}))
    made.playground.change("A", KEPT.replace("{", "(").replace("}", ")"), {"stop": [HOSTILE]})
    made._take("run", {"ask": "1"})
    assert made.playground.wait(20)
    until(lambda: not made.shown["running"])
    assert made.answer_a["text"]
    return made


def labelling(builder, ws):
    from llmops_jupyter.panels.labelling import Labelling

    run = ws.evaluation.run("column=a", ROWS, judge)
    return Labelling(ws.evaluation.label(run, name=KEPT, by="ann", limit=3))


def searching(builder, ws):
    from llmops_jupyter.panels.search import SearchPanel

    ws.rag.add("manual", [{"id": "7", "text": KEPT}], embedder="none")
    return SearchPanel(ws.rag.index("manual"), "script window pwned")


def tuning(builder, ws, begun_run):
    from llmops_jupyter.panels.finetune import FinetunePanel

    _, _, events = begun_run(ws, "20260101-000000-aaaa", "tickets", [(HOSTILE, HOSTILE)])
    events.add({"kind": "sample", "when": "after", "number": 0, "text": KEPT})
    events.add({"kind": "end", "ended": "failed", "step": 0, "message": KEPT})
    return FinetunePanel(ws.finetune)


def rules(builder, ws):
    from llmops_jupyter.panels.monitor import MonitorPanel

    ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.2, note=HOSTILE)
    ws.monitor.alerts.silence("errors", "1h", why=HOSTILE)
    return MonitorPanel(ws.monitor)


MAKERS = {
    "data.preparing.masking.Preview": masking,
    "data.preparing.prepared.Prepared": prepared,
    "data.preparing.picture.Chart": lambda builder, ws: prepared(builder, ws).chart(),
    "evaluation.charts.Power": power,
    "monitor.drift.baselines.Baseline": baseline,
    "monitor.drift.plots.Map": plane,
    "monitor.drift.report.Report": drift,
    "monitor.drift.plots.Distribution": drift_picture("Distribution"),
    "monitor.drift.plots.Timeline": drift_picture("Timeline"),
    "monitor.drift.streams.Stream": stream,
    "monitor.alerts.timelines.Timeline": rule_picture,
    "panels.prompt.PromptPanel": playground,
    "panels.labelling.Labelling": labelling,
    "panels.search.SearchPanel": searching,
    "panels.finetune.FinetunePanel": tuning,
    "panels.monitor.MonitorPanel": rules,
    "records.completion.Table": table,
}


def test_what_is_live_is_found():
    found = live_in(f"<p>{HOSTILE}</p>")
    for part in ("<script>", "<svg>", "<iframe>", "img onerror", "a href=javascript", "div style="):
        assert any(part in one for one in found), part
    assert live_in(r"<p>$\href{javascript:x}{y}$</p>") == [r"formula $\href{javascript:x}{y}$"]
    assert live_in("<p><b>open</p>") != []
    assert live_in("<p title='x'>a</p>") == ["p title=x"]


def check(data):
    """Nothing that a bundle holds is live or obeyed."""
    if "text/html" in data:
        assert live_in(data["text/html"]) == []
    if "text/plain" in data:
        assert OBEYED.findall(data["text/plain"]) == []
    if "text/markdown" in data:
        assert OBEYED.findall(data["text/markdown"]) == []
        assert_inert(data["text/markdown"])
    # A message to the notebook; a trace from the store has no halves of characters that one could not hold.
    sent = {kind: made for kind, made in data.items() if kind != render.trace.TRACE_MIME}
    assert json.dumps(sent, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", shown())
def test_what_a_class_shows_is_neither_live_nor_obeyed(name, ws, builder, request):
    cls = classes()[f"llmops_jupyter.{name}"]
    make = MAKERS.get(name)
    if make is tuning:
        made = make(builder, ws, request.getfixturevalue("begun_run"))
    else:
        made = builder.make(cls) if make is None else make(builder, ws)
    seen = 0
    for attribute in filter(SHOWS.fullmatch, dir(cls)):
        found = getattr(made, attribute)()
        data, metadata = found if isinstance(found, tuple) else (found, {})
        assert json.dumps(metadata, ensure_ascii=False).encode()
        if attribute == "_repr_png_":
            assert data.startswith(PNG)
        elif isinstance(data, dict):
            check(data)
        elif data is not None:
            check({f"text/{attribute.strip('_').removeprefix('repr_')}": data})
        seen += 1
    assert seen
    if hasattr(made, "close") and hasattr(made, "comm"):
        made.close()


TRACE = {
    "trace_id": HOSTILE,
    "started_at": HOSTILE,
    "notebook": HOSTILE,
    "cell_id": HOSTILE,
    "execution_count": HOSTILE,
    "scores": [
        {"name": HOSTILE, "label": HOSTILE, "value": 1, "source": HOSTILE, "explanation": HOSTILE}
    ],
    "spans": [
        {
            "span_id": "a",
            "parent_id": HOSTILE,
            "name": HOSTILE,
            "status": HOSTILE,
            "duration_s": 1.0,
            "input_tokens": 1,
            "output_tokens": 2,
            "resources": {HOSTILE: {"source": HOSTILE, "value": 1.0, "unit": HOSTILE}},
            "cost": 0.5,
            "model": HOSTILE,
            "prompt": HOSTILE,
            "input": [{"role": HOSTILE, "content": HOSTILE, "tool_calls": CALLS}],
            "output": [{"role": HOSTILE, "content": HOSTILE}],
            "attributes": {
                "gen_ai.tool.name": HOSTILE,
                "gen_ai.tool.call.arguments": {HOSTILE: HOSTILE},
                "gen_ai.tool.call.result": HOSTILE,
                "llmops.guard.verdicts": [
                    {"decision": HOSTILE, "check": HOSTILE, "reason": HOSTILE}
                ],
            },
            "error_type": HOSTILE,
            "error_message": HOSTILE,
        }
    ],
}


def pages(builder):
    """Each public function of the rooms that render, with what it makes of hostile values, by the kind of that."""
    done, grounding = builder.make(Completion), builder.make(Grounding)
    rows = [ROW, ROW]
    return {
        "bundles.completion_bundle": ("bundle", render.completion_bundle(done)[0]),
        "bundles.completion_markdown": ("markdown", render.completion_markdown(done)),
        "bundles.completion_text": None,  # a part of the bundle
        "bundles.plain": None,  # values, not texts
        "bundles.quiet_line": None,
        "bundles.safe_line": ("markdown", render.bundles.safe_line(HOSTILE)),
        "calls.call_text": None,
        "calls.called_text": None,
        "calls.calls_tree": None,
        "clock.local": None,
        "controls.visible": ("text", render.visible(HOSTILE)),
        "difference.text_of": None,  # a part of the difference
        "grounded.after_stream": None,
        "grounded.mark_of": None,
        "grounded.marked": None,
        "grounded.one_line": None,
        "grounded.shown_text": None,
        "grounded.sources_markdown": ("markdown", render.grounded.sources_markdown(grounding)),
        "grounded.sources_text": None,
        "html.attribute": ("page", f"<img alt='{render.attribute(HOSTILE)}'>"),
        "html.bundle": ("bundle", render.bundle(HOSTILE, "")),
        "html.cut": ("text", render.html.cut(HOSTILE)),
        "html.diff_lines": None,  # its lines are what was written; who shows them makes them inert
        "html.diff_html": ("page", render.diff_html(HOSTILE, KEPT + "x", (HOSTILE, HOSTILE))),
        "html.diff_text": ("text", render.diff_text(HOSTILE, "x", (HOSTILE, HOSTILE))),
        "html.escaped": ("page", render.escaped(HOSTILE)),
        "html.picture": ("page", render.html.picture("", HOSTILE)),
        "html.table_bundle": ("bundle", render.table_bundle(table(builder, None))[0]),
        "html.table_html": ("page", render.table_html(rows)),
        "html.text_table": ("text", render.text_table(rows)),
        "lengths.beginning": None,  # values for a browser, which shows them as text
        "markdown.code_block": ("markdown", render.markdown.code_block(HOSTILE)),
        "markdown.inert": ("markdown", render.markdown.inert(HOSTILE)),
        "markdown.quote": ("markdown", render.markdown.quote(HOSTILE)),
        "markdown.safe_markdown": ("markdown", render.safe_markdown(HOSTILE)),
        "plots.new_figure": None,
        "plots.paint": None,
        "plots.plain_texts": None,
        "plots.png": None,
        "quantities.quantity": None,
        "trace.trace_bundle": None,  # its JSON is the trace as it is; see the others
        "trace.trace_html": ("page", render.trace_html(TRACE)),
        "trace.trace_text": ("text", render.trace_bundle(TRACE)[0]["text/plain"]),
    }


def test_every_function_that_renders_is_attacked(builder):
    known = pages(builder)
    found = {
        f"{name.rpartition('.')[2]}.{function.__name__}"
        for name, module in modules().items()
        if name.startswith("llmops_jupyter.render.")
        for function in vars(module).values()
        if inspect.isfunction(function)
        and function.__module__ == name
        and not function.__name__.startswith("_")
    }
    assert found == set(known)
    for kind, made in filter(None, known.values()):
        if kind == "page":
            assert live_in(made) == []
        elif kind == "bundle":
            check(made)
        else:
            assert OBEYED.findall(made) == []
        if kind == "markdown":
            assert_inert(made)


def test_pages_are_escaped_and_made_in_one_place():
    for path, source in sources().items():
        if path != "render/html.py":
            assert "html.escape(" not in source, path
            assert "<img" not in source or path in ("rag/reading.py", "guard/signs.py"), path
        if path not in ("render/html.py", "panels/base.py", "panels/boards.py"):
            assert '"text/html":' not in source, path


def test_a_gate_s_reports_hold_nothing_live(builder):
    report = builder.make(GateReport)
    assert_inert(markdown(report))
    assert "\x1b" not in junit(report)
    assert "<script" not in junit(report)


def test_an_error_is_one_line_that_no_terminal_obeys():
    (line,) = errors.LLMOpsError(HOSTILE)._render_traceback_()
    assert OBEYED.findall(line) == []


def test_a_picture_shows_what_looks_like_a_formula_as_it_is():
    class Titled(plots.Picture):
        def figure(self):
            made = plots.new_figure(3, 2)
            made.add_subplot().set_title(render.html.cut(r"$\frac{$ and $x$", 30))
            return made

    assert Titled()._repr_png_().startswith(PNG)


def test_prices_in_a_page_are_no_formula():
    assert render.escaped("it cost $5, then $6") == "it cost <span>$</span>5, then <span>$</span>6"


def test_direction_is_kept_where_it_harms_nobody():
    assert render.visible("שלום abc\u200f\n\tx") == "שלום abc\u200f\n\tx"
    assert render.visible("a\u202eb\x1b[31mc\r\nd\re\x85") == "a⟨U+202E⟩b␛[31mc\nd␍e\ufffd"


class Typewriter(io.StringIO):
    """What was written to a terminal."""

    def isatty(self):
        return True


def test_a_terminal_obeys_nothing_that_a_model_says(monkeypatch):
    terminal = Typewriter()
    monkeypatch.setattr(sys, "stdout", terminal)
    live = Live(SimpleNamespace(kernel=None), stream=True)
    done = Completion(HOSTILE, notes=(HOSTILE,))
    live.piece(HOSTILE, done)
    live.finish(done)
    sys.stdout.write(output.for_reader(HOSTILE))
    assert "␛[8mhidden" in terminal.getvalue()
    assert OBEYED.findall(terminal.getvalue()) == []


def test_a_file_gets_what_the_model_said_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert output.for_reader(KEPT) == KEPT
