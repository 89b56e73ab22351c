"""Schemas: kept in their order, taken from classes, and wrapped for reasoning."""

from __future__ import annotations

import json

import pytest
from engine_fakes import FakeEngine, plug

import llmops_jupyter as lo
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.prompts.content import Content

ORDERED = {
    "type": "object",
    "properties": {"thought": {"type": "string"}, "answer": {"type": "integer"}},
    "required": ["thought", "answer"],
}

REORDERED = {**ORDERED, "properties": dict(reversed(list(ORDERED["properties"].items())))}


def test_a_version_runs_with_its_schema_in_the_order_it_was_saved(ws):
    engine = plug(ws, FakeEngine(lambda _: '{"thought": "t", "answer": 1}'))
    saved = ws.prompts.save("p", "hi", schema=ORDERED)
    ws.prompts.run("p")
    assert list(engine.requests[0].schema["properties"]) == ["thought", "answer"]
    again = ws.prompts.save("p", "hi", schema=REORDERED)
    assert (again.ref, again.created) == ("p@1", False)
    assert list(again.content.schema["properties"]) == ["thought", "answer"]
    assert saved.content_hash == Content("hi\n", schema=REORDERED).digest


def test_a_version_of_an_older_release_keeps_its_number_and_gets_its_order_back(ws):
    old = Content("hi\n", schema=ORDERED)
    with ws.store.write() as conn:
        conn.execute(
            "INSERT INTO prompt_versions(name, version, content_hash, content, created_at) "
            "VALUES ('p', 1, ?, ?, '')",
            (old.digest, old.to_json()),
        )
    assert list(ws.prompts.get("p").content.schema["properties"]) == ["answer", "thought"]
    assert ws.prompts.save("p", "hi", schema=ORDERED).ref == "p@1"
    assert list(ws.prompts.get("p").content.schema["properties"]) == ["thought", "answer"]


def test_the_order_of_a_schema_travels(ws, tmp_path):
    ws.prompts.save("p", "hi", schema=ORDERED)
    ws.export(tmp_path / "out")
    with lo.open(tmp_path / "b.db") as other:
        other.import_(tmp_path / "out")
        assert list(other.prompts.get("p").content.schema["properties"]) == ["thought", "answer"]


def test_recursive_classes_are_schemas_with_and_without_reasoning(ws):
    pydantic = pytest.importorskip("pydantic", reason="needs pydantic")
    grammar = pytest.importorskip("llama_cpp.llama_grammar", reason="needs llama-cpp-python")

    class Node(pydantic.BaseModel):
        value: int
        children: list[Node] = pydantic.Field(default=[])

    Node.model_rebuild(_types_namespace={"Node": Node})
    tree = '{"value": 1, "children": [{"value": 2, "children": []}]}'
    engine = plug(ws, FakeEngine(lambda _: tree))
    done = ws.prompts.run(ws.prompts.scratch("hi", schema=Node), schema=Node)
    assert done.parsed == Node(value=1, children=[Node(value=2)])
    engine.answer = lambda _: f'{{"reasoning": "r", "answer": {tree}}}'
    done = ws.prompts.run(ws.prompts.scratch("hi", schema=Node, cot=True), schema=Node)
    assert done.parsed == Node(value=1, children=[Node(value=2)])
    for request in engine.requests:
        assert "value" in grammar.json_schema_to_gbnf(json.dumps(request.schema))


def test_references_to_the_root_of_a_schema_follow_it_below_the_reasoning():
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "null"}}}
    outer = reasoning.reasoning_schema(schema)
    assert outer["properties"]["answer"]["properties"]["next"]["$ref"] == "#/properties/answer"
    text = '{"reasoning": "", "answer": {"next": {"next": {}}}}'
    assert reasoning.parse_answer(text, outer, None, cut=False)
