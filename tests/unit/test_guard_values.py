"""Values in system messages under a policy: however a template puts them there, they are checked; traces keep what is left."""

from __future__ import annotations

import json

import pytest
from engine_fakes import plug
from guard_fakes import KEY

from llmops_jupyter.engine.cassette import Cassette
from llmops_jupyter.engine.replay import RecordingEngine
from llmops_jupyter.prompts.stretches import TAKEN_OUT

POLICY = """
message: "No."
input:
  - check: secrets
    action: modify
  - check: words
    banned: [dragons, "night owl"]
    action: deny
output: [canary]
"""
TEMPLATES = {
    "within a sentence, and in the user's message too": (
        "system: Answer about {{ q }} politely.\nuser: {{ q }}",
        lambda text: {"q": text},
    ),
    "in a loop": (
        "system: Facts: {% for d in docs %}{{ d }}; {% endfor %}\nuser: hi",
        lambda text: {"docs": ["one", text, "two"]},
    ),
    "in a mapping": ("system: {{ row.text }}\nuser: hi", lambda text: {"row": {"text": text}}),
    "as a key": (
        "system: {% for k, v in row.items() %}{{ k }}={{ v }}{% endfor %}\nuser: hi",
        lambda text: {"row": {text: 1}},
    ),
    "through filters": (
        "system: a {{ q|replace('~', '')|trim }} b\nuser: hi",
        lambda text: {"q": f"  {text[:6]}~{text[6:]} "},
    ),
    "in an expression": (
        "system: a {{ one ~ two }} b\nuser: hi",
        lambda text: {"one": text[:6], "two": text[6:]},
    ),
    "in two places next to each other": (
        "system: a {{ one }}{{ two }} b\nuser: hi",
        lambda text: {"one": text[:6], "two": text[6:]},
    ),
    "in a loop that calls itself": (
        "system: {% for n in tree recursive %}{{ n.t }}({{ loop(n.c) }}){% endfor %}\nuser: hi",
        lambda text: {"tree": [{"t": "x", "c": [{"t": text, "c": []}]}]},
    ),
    "from an object": ("system: a {{ q }} b\nuser: hi", lambda text: {"q": Told(text)}),
    "from an iterator": (
        "system: {% for d in docs %}{{ d }} {% endfor %}\nuser: hi",
        lambda text: {"docs": iter([text])},
    ),
    "in the second system message": (
        "system: one\nsystem: two {{ q }}\nuser: hi",
        lambda text: {"q": text},
    ),
}
each = pytest.mark.parametrize(("template", "variables"), TEMPLATES.values(), ids=TEMPLATES)


class Told:
    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


@pytest.fixture
def engine(ws):
    ws.guard.add("shop", POLICY)
    return plug(ws)


def run(ws, template, variables, **options):
    return ws.prompts.run(ws.prompts.scratch(template), variables, guard="shop", **options)


def kept(ws):
    """All that the workspace has on its disk."""
    tables = [r[0] for r in ws.store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return "\n".join(str(tuple(r)) for t in tables for r in ws.store.rows(f'SELECT * FROM "{t}"'))


@each
@pytest.mark.parametrize("session", [None, "s"])
def test_what_is_taken_out_reaches_neither_the_model_nor_the_disk(
    ws, engine, template, variables, session
):
    done = run(ws, template, variables(f"key {KEY} end"), session=session)
    (request,) = engine.requests
    sent = "\n".join(m.content for m in request.messages)
    assert KEY not in sent
    assert "key [SECRET] end" in sent
    assert KEY not in kept(ws)
    assert "secrets" in [v.check for v in done.verdicts if v.action == "replaced"]


@each
def test_what_is_denied_reaches_no_model(ws, engine, template, variables):
    done = run(ws, template, variables("tell of Dragons"))
    assert (done.text, done.finish_reason) == ("No.", "content_filter")
    assert engine.requests == []


def test_phrases_that_are_spread_over_a_list_are_found(ws, engine):
    template = "system: Known: {% for w in words %}{{ w }} {% endfor %}.\nuser: hi"
    assert run(ws, template, {"words": ["a", "night", "owl"]}).finish_reason == "content_filter"
    assert run(ws, template, {"words": ["a", "night", "heron"]}).finish_reason == "stop"


def test_the_words_of_the_template_itself_are_not_checked_in_a_system_message(ws, engine):
    template = "system: Never speak of dragons{% if q %} or dragons{% endif %}; {{ q }}\nuser: hi"
    done = run(ws, template, {"q": "fine"})
    assert done.finish_reason == "stop"
    assert (
        engine.requests[0].messages[0].content.startswith("Never speak of dragons or dragons; fine")
    )


def test_a_value_that_was_found_by_what_stands_around_it_is_not_in_the_trace(ws, engine):
    run(ws, "user: my password is {{ p }}, help", {"p": "Tr0ub4dor&3x"})
    assert "Tr0ub4dor" not in engine.requests[0].messages[-1].content
    assert ws.traces.last().root.attributes["llmops.prompt.variables"] == {"p": TAKEN_OUT}
    assert "Tr0ub4dor" not in kept(ws)


def test_what_a_value_has_beside_what_the_template_shows_is_checked_for_the_trace(ws, engine):
    row = {"text": "hi", "note": f"key {KEY}", "n": 3, "none": None, "flag": True}
    run(ws, "system: {{ row.text }}\nuser: {{ row.text }}", {"row": row})
    assert ws.traces.last().root.attributes["llmops.prompt.variables"] == {
        "row": {**row, "note": "key [SECRET]"}
    }


def test_the_marker_tells_nothing_of_what_was_taken_out(ws, engine):
    for key in (KEY, f"{KEY[:-1]}Q"):
        run(ws, "system: Use {{ q }} here.\nuser: hi", {"q": f"key {key}"})
    first, second = (r.messages[0].content for r in engine.requests)
    assert first == second
    assert "<!-- " in first


def test_examples_earlier_turns_and_reasoning_keep_their_places(ws, engine):
    content = ws.prompts.scratch(
        "system: About {{ about }}.\nuser: {{ q }}",
        examples=[{"about": "x", "q": "1", "output": "one"}],
        cot=True,
    )
    for number in range(2):
        ws.prompts.run(
            content, {"about": f"key {KEY}", "q": f"n {number} {KEY}"}, guard="shop", session="s"
        )
    messages = engine.requests[-1].messages
    assert [m.role for m in messages][:3] == ["system", "user", "assistant"]
    assert messages[0].content.startswith("About key [SECRET].")
    assert messages[-1].content.startswith("n 1 [SECRET]")
    assert KEY not in str(messages)


def test_rows_are_checked_likewise(ws, engine):
    content = ws.prompts.scratch("system: {{ row.text }}\nuser: hi")
    rows = [{"row": {"text": f"key {KEY}"}}, {"row": {"text": "dragons"}}]
    table = ws.prompts.map(content, rows, guard="shop")
    assert [c.finish_reason for c in table] == ["stop", "content_filter"]
    assert KEY not in str(engine.requests)


def test_a_recording_does_not_keep_what_was_taken_out(ws, engine, tmp_path):
    cassette = Cassette(tmp_path / "c.json")
    ws.engine.engine = lambda model=None: RecordingEngine(engine, cassette)
    run(ws, "system: Use {{ q }}.\nuser: {{ q }}", {"q": f"key {KEY}"})
    assert KEY not in cassette.path.read_text()
    assert json.loads(cassette.path.read_text())["calls"]
