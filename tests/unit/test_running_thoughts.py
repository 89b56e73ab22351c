"""Models that think: reasoning apart from the answer in completions, tables, traces and recordings."""

from __future__ import annotations

import pytest
from engine_fakes import FakeEngine, plug

import llmops_jupyter as lo
from llmops_jupyter.render import quiet_line


@pytest.fixture
def ws():
    with lo.open(":memory:") as made:
        yield made


def test_reasoning_is_no_part_of_the_answer(ws):
    plug(ws, FakeEngine(lambda _: "Paris", thought="It is a city."))
    with ws.prompts.stream(ws.prompts.scratch("Where?")) as run:
        pieces = list(run)
    done = run.completion
    assert (done.text, done.reasoning, str(done)) == ("Paris", "It is a city.", "Paris")
    assert "".join(pieces) == "It is a city.\n\nParis"
    assert done.usage.reasoning_tokens == 4
    assert "4 of them reasoning" in quiet_line(done)


def test_the_trace_keeps_reasoning_answer_and_cost_apart(ws):
    plug(ws, FakeEngine(lambda _: "Paris", thought="It is a city.", cost=0.25))
    done = ws.prompts.run(ws.prompts.scratch("Where?"))
    root, chat = ws.traces.get(done.trace_id).spans
    for span in root, chat:
        assert span.output == (lo.Message("assistant", "Paris"),)
        assert span.attributes["llmops.reasoning"] == "It is a city."
        assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == 4
        assert span.cost == 0.25
    assert done.cost == 0.25
    assert "$0.25" in quiet_line(done)


def test_without_a_price_there_is_no_cost(ws):
    plug(ws)
    done = ws.prompts.run(ws.prompts.scratch("Where?"))
    assert done.cost is None
    assert [span.cost for span in ws.traces.get(done.trace_id).spans] == [None, None]


def test_rows_of_a_map_think_each_for_itself(ws):
    plug(ws, FakeEngine(str.upper, thought="Hm.", cost=0.5, notes=("no top_k there",)))
    table = ws.prompts.map(ws.prompts.scratch("{{ x }}"), [{"x": "a"}, {"x": "b"}])
    assert [(c.text, c.reasoning, c.cost) for c in table] == [("A", "Hm.", 0.5), ("B", "Hm.", 0.5)]
    assert [r["cost"] for r in table.records()] == [0.5, 0.5]
    assert all("no top_k there" in c.notes for c in table)


def test_a_model_that_thinks_may_be_asked_to_reason_as_well(ws):
    engine = plug(ws, FakeEngine(lambda _: "so it is", thought="Hm."))
    prompt = ws.prompts.scratch("Why?", cot=True)
    done = ws.prompts.run(prompt)
    assert done.text == "so it is"
    assert done.reasoning == "Hm.\n\nso it is\n\nHm."
    assert engine.requests[1].prefill.startswith("Hm.\n\nso it is")
    (row,) = ws.prompts.map(ws.prompts.scratch("{{ x }}", cot=True), [{"x": "a"}])
    assert (row.text, row.reasoning) == (done.text, done.reasoning)


def test_reasoning_and_cost_are_replayed(ws, tmp_path):
    from llmops_jupyter.engine.cassette import Cassette
    from llmops_jupyter.engine.protocol import Finished, Request, Token
    from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine

    cassette = Cassette(tmp_path / "a.json")
    inner = FakeEngine(lambda _: "Paris", thought="Hm.", cost=0.5, notes=("a note",))
    request = Request("1", messages=(lo.Message("user", "Where?"),))
    recorded = list(RecordingEngine(inner, cassette).generate([request]))
    replayed = ReplayEngine(Cassette.load(cassette.path), "fake", "f" * 64).generate([request])
    assert list(replayed) == recorded
    assert [type(event) for event in recorded] == [Token, Token, Finished]
