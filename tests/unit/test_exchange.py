"""Prompts and data sets travel to another store, whole or not at all."""

from __future__ import annotations

import json

import pytest
from engine_fakes import plug

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, PromptError


@pytest.fixture
def engine(ws):
    return plug(ws)


def test_examples_follow_their_content_into_another_store(ws, engine, tmp_path):
    few = ws.data.add("few", [{"input": "2+2", "output": "four"}])
    ws.prompts.save("math", "user: {{ q }}", examples=few)
    ws.export(tmp_path / "out")
    with lo.open(tmp_path / "b.db") as other:
        fake = plug(other)
        other.data.add("few", [{"input": "OTHER", "output": "WRONG"}])
        assert other.import_(tmp_path / "out") == {
            "prompts": 1,
            "data": 1,
            "suites": 0,
            "policies": 0,
        }
        other.prompts.run("math", {"q": "3+3"})
        assert [m.content for m in fake.requests[0].messages] == ["2+2", "four", "3+3"]
        assert other.prompts.get("math").content.examples.dataset == "few@2"
        assert other.import_(tmp_path / "out") == {
            "prompts": 0,
            "data": 0,
            "suites": 0,
            "policies": 0,
        }


def test_examples_whose_content_is_not_here_are_not_replaced_by_others(ws, engine, tmp_path):
    few = ws.data.add("few", [{"input": "2+2", "output": "four"}])
    ws.prompts.save("math", "user: {{ q }}", examples=few)
    ws.prompts.export(tmp_path / "out")
    with lo.open(tmp_path / "b.db") as other:
        fake = plug(other)
        other.data.add("few", [{"input": "OTHER", "output": "WRONG"}])
        other.prompts.import_(tmp_path / "out")
        with pytest.raises(DataError, match="few@1 with the content"):
            other.prompts.run("math", {"q": "3+3"})
        assert fake.requests == []


def test_settings_travel_and_do_not_push_those_that_are_there_aside(ws, engine, tmp_path):
    ws.prompts.save("p", "hi")
    ws.prompts.run("p", temperature=0.125, stop=["X"])
    ws.export(tmp_path / "out")
    with lo.open(tmp_path / "b.db") as other:
        fake = plug(other)
        other.import_(tmp_path / "out")
        other.prompts.run("p")
        assert fake.requests[0].sampling.temperature == 0.125
        other.prompts.run("p", temperature=0.5)
        other.import_(tmp_path / "out")
        assert other.prompts.get("p").defaults["temperature"] == 0.5


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"content": {"template": "hi"}}, "there is no 'version'"),
        ({"version": 1}, "there is no 'content'"),
        ({"version": 1, "content": {"template": "hi", "schema": {"type": "nonsense"}}}, "nonsense"),
        ({"version": 1, "content": {"template": "{{"}}, "Line 1"),
        ({"version": 1, "content": {"template": 3}}, "'template' is a text"),
        ({"version": 1, "content": {"template": "a", "examples": {"x": 1}}}, "no exported prompt"),
        ({"version": 1, "content": {"template": "a"}, "defaults": {"top_k": "b"}}, "top_k"),
        ([], "no exported prompt"),
    ],
)
def test_a_fault_in_one_file_leaves_nothing_of_any(ws, tmp_path, record, says):
    ws.prompts.save("a", "fine")
    ws.data.add("d", [{"q": 1}])
    ws.export(tmp_path / "out")
    (tmp_path / "out/prompts/p").mkdir()
    (tmp_path / "out/prompts/p/0001.json").write_text(json.dumps(record))
    with lo.open(tmp_path / "b.db") as other:
        with pytest.raises(PromptError, match=says):
            other.import_(tmp_path / "out")
        assert other.prompts.list() == []
        assert other.data.list() == []


def test_rows_that_were_changed_after_the_export_are_refused(ws, tmp_path):
    ws.data.add("d", [{"q": 1}])
    ws.export(tmp_path / "out")
    file = tmp_path / "out/data/d.v1.jsonl"
    file.write_text(file.read_text().replace("1}", "2}"))
    with lo.open(tmp_path / "b.db") as other:
        with pytest.raises(DataError, match="not those that were exported"):
            other.import_(tmp_path / "out")
        assert other.data.list() == []
