"""Guard policies around the bundled model."""

from __future__ import annotations

import pytest

import llmops_jupyter as lo

pytestmark = pytest.mark.model

POLICY = """
message: "No."
input:
  - check: words
    banned: [dragons]
    action: deny
  - check: secrets
    action: modify
output:
  - check: canary
  - check: leak
    words: 6
    action: modify
  - check: words
    banned: [paris]
    action: modify
"""
PROMPT = "system: You answer questions about cities in one short sentence.\nuser: {{ q }}"


@pytest.fixture
def shop(ws, model_path):
    ws.models.add(model_path, name="smollm2")
    ws.guard.add("cities", POLICY)
    return ws


def run(ws, q, **options):
    content = ws.prompts.scratch(PROMPT)
    return ws.prompts.run(
        content, {"q": q}, guard="cities", temperature=0, max_tokens=24, **options
    )


def test_a_run_is_checked_on_its_way_in_and_out(shop):
    done = run(shop, "What is the capital of France? My key is AKIAABCDEFGHIJKLMNOP.")
    assert "paris" not in done.text.lower()
    assert "[removed]" in done.text
    assert done.usage.output_tokens > 0
    assert [(v.check, v.action) for v in done.verdicts if v.decision != "allow"] == [
        ("secrets", "replaced"),
        ("words", "replaced"),
    ]
    trace = shop.traces.last()
    assert [s.op for s in trace.spans if s.op in ("chat", "run_guardrail")] == [
        "run_guardrail",
        "chat",
        "run_guardrail",
    ]
    chat = next(s for s in trace.spans if s.op == "chat")
    assert "paris" in chat.output[0].content.lower()
    assert "AKIA" not in str(chat.input)


def test_a_denied_input_never_reaches_the_model(shop):
    done = run(shop, "Where do dragons live?")
    assert (done.text, done.finish_reason, done.usage.output_tokens) == ("No.", "content_filter", 0)


def test_rows_run_together_and_each_is_checked(shop):
    rows = [
        {"q": "What is the capital of France?"},
        {"q": "Are there dragons?"},
        {"q": "Where is Rome?"},
    ]
    table = shop.prompts.map(
        shop.prompts.scratch(PROMPT), rows, guard="cities", temperature=0, max_tokens=24
    )
    assert [c.finish_reason == "content_filter" for c in table] == [False, True, False]
    assert "paris" not in table[0].text.lower()
    assert all(c.verdicts for c in table)


def test_a_replay_has_the_same_verdicts(shop, tmp_path):
    shop.engine.record(tmp_path / "c.json")
    recorded = run(shop, "What is the capital of France?")
    shop.engine.live()
    with lo.open(":memory:") as other:
        other.guard.add("cities", POLICY)
        other.engine.replay(tmp_path / "c.json")
        played = run(other, "What is the capital of France?")
    assert played.text == recorded.text
    assert played.trace_id == recorded.trace_id
    assert [(v.check, v.decision, v.action) for v in played.verdicts] == [
        (v.check, v.decision, v.action) for v in recorded.verdicts
    ]
