"""Running prompts on an engine that answers at once: options, maps, schemas, what is kept."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from engine_fakes import FakeEngine, plug

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, ModelError, OptionError, PromptError, UnknownNameError
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.prompts.content import Content


@pytest.fixture
def engine(ws):
    return plug(ws)


def stop_after(count):
    def stop(progress):
        if progress.done == count:
            raise KeyboardInterrupt

    return stop


def broken_off(ws, prompt, rows, count=1, **options):
    with pytest.raises(KeyboardInterrupt):
        ws.prompts.map(prompt, rows, progress=stop_after(count), **options)


# Maps


def test_a_map_with_other_shared_values_begins_anew(ws, engine):
    content = ws.prompts.scratch("{{ tone }}: {{ q }}")
    rows = [{"q": str(n)} for n in range(4)]
    broken_off(ws, content, rows, 2, variables={"tone": "RUDE"})
    table = ws.prompts.map(content, rows, variables={"tone": "POLITE", "unused": object()})
    assert [c.text for c in table] == [f"echo POLITE: {n}" for n in range(4)]


def test_a_map_with_the_same_values_goes_on_whatever_else_has_changed(ws, engine):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": n, "unused": n} for n in range(3)]
    broken_off(ws, content, rows, 2, variables={"other": 1})
    seen = []
    ws.prompts.map(content, [{"q": n} for n in range(3)], progress=seen.append)
    assert seen[0].resumed == 2


def test_long_arrays_that_differ_in_the_middle_are_different_rows(ws, engine):
    content = ws.prompts.scratch("{{ a | sum }}")
    zeros, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 99
    broken_off(ws, content, [{"a": zeros}, {"a": zeros}])
    table = ws.prompts.map(content, [{"a": other}, {"a": zeros}])
    assert [c.text for c in table] == ["echo 99.0", "echo 0.0"]


@pytest.mark.parametrize(
    "changed", [{"temperature": 0.1}, {"frequency_penalty": 1}, {"exact": True}, {"seed": 3}]
)
def test_a_map_with_other_settings_begins_anew(ws, engine, changed):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": "a"}, {"q": "b"}]
    broken_off(ws, content, rows)
    seen = []
    ws.prompts.map(content, rows, progress=seen.append, **changed)
    assert seen[0].resumed == 0


def test_nothing_of_a_broken_off_map_is_kept_unredacted(ws, engine):
    ws.configure(redact="pii")
    content = ws.prompts.scratch("mail {{ q }}")
    rows = [{"q": "ada@example.com"}, {"q": "bob"}, {"q": "cy"}]
    broken_off(ws, content, rows, 2, logprobs=2)
    assert "ada@example.com" not in "\n".join(ws.store.read().iterdump())
    table = ws.prompts.map(content, rows, logprobs=2)
    assert [c.text for c in table] == ["echo mail [EMAIL]", "echo mail bob", "echo mail cy"]
    assert "personal data was left out" in table[0].notes[0]
    assert table[1].notes == ()
    assert table[0].logprobs == ()


def test_traces_from_before_the_rule_become_data_without_personal_data(ws, engine):
    done = ws.prompts.run(ws.prompts.scratch("{{ q }}"), {"q": "ada@example.com"})
    ws.configure(redact="pii")
    made = next(ws.data_from_traces("d").rows())
    assert made["input"] == "[EMAIL]"
    assert made["q"] == "[EMAIL]"
    assert made["trace_id"] == done.trace_id


def test_a_map_with_a_failed_row_is_finished_and_runs_anew(ws, engine):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": "a"}, {"q": "bad"}]
    first = ws.prompts.map(content, rows)
    again = ws.prompts.map(content, rows)
    assert len(again.failures) == 1
    assert first[0].trace_id != again[0].trace_id


def test_rows_with_one_id_are_told_apart(ws, engine):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"id": i, "q": q} for i, q in (("x", "a"), ("x", "bad"), ("x-2", "c"), ("x", "d"))]
    table = ws.prompts.map(content, rows)
    assert len(set(table.row_ids)) == 4
    assert [bool(r["error"]) for r in table.records()] == [False, True, False, False]
    frame = pandas.DataFrame({"q": ["a", "bad"]}, index=[0, 0])
    table = ws.prompts.map(content, frame)
    assert [(r["row_id"], bool(r["error"])) for r in table.records()] == [
        ("0", False),
        ("0-2", True),
    ]


def test_names_of_columns_are_texts(ws, engine):
    table = ws.prompts.map(ws.prompts.scratch("{{ b }}"), [{1: "a", "b": 2, None: 3}])
    assert table.records()[0]["1"] == "a"


def test_rows_give_way_to_a_waiting_notebook(ws, engine):
    ws.prompts.map(ws.prompts.scratch("{{ q }}"), [{"q": 1}, {"q": 2}])
    thought = ws.prompts.scratch("{{ q }}", cot=True)
    ws.prompts.map(thought, [{"q": 1}])
    assert [r.interactive for r in engine.requests] == [False] * 4
    ws.prompts.run(thought, {"q": 1})
    assert engine.requests[-1].interactive


def test_a_session_takes_no_rows(ws, engine):
    with pytest.raises(OptionError, match="do not go together"):
        ws.prompts.map(ws.prompts.scratch("{{ q }}"), [{"q": 1}], session="s")


# Options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": "abc"}, "seed is a whole number, not 'abc'"),
        ({"max_tokens": 1.5}, "max_tokens is a whole number"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"top_k": 2.5}, "top_k is a whole number"),
        ({"top_k": True}, "top_k is a whole number"),
        ({"temperature": "hot"}, "temperature is a number"),
        ({"temperature": float("nan")}, "temperature must be at most 100"),
        ({"stop": 3}, "stop is a text"),
        ({"logprobs": 1000}, "logprobs must be at most 100"),
        ({"logit_bias": {"a": "b"}}, "is a number"),
        ({"logit_bias": 3}, "for example"),
        ({"session": "My Chat"}, "'my-chat'"),
        ({"session": 4}, "session is the name"),
        ({"model": 4}, "model is the name"),
        ({"adapters": 4}, "adapters is a list"),
        ({"adapters": "style:much"}, "NAME:SCALE"),
    ],
)
def test_options_of_another_type_or_range_are_refused_before_anything(ws, engine, options, says):
    with pytest.raises(OptionError, match=says):
        ws.prompts.run(ws.prompts.scratch("hi"), **options)
    assert engine.requests == []
    assert ws.traces.newest() == []


def test_numpy_numbers_are_numbers(ws, engine):
    ws.prompts.save("p", "hi")
    ws.prompts.run(
        "p",
        max_tokens=np.int64(4),
        temperature=np.float32(0.5),
        seed=np.uint32(7),
        top_k=np.int8(3),
    )
    sampling = engine.requests[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.seed) == (4, 0.5, 7)
    assert {type(v) for v in (sampling.max_tokens, sampling.seed, sampling.top_k)} == {int}
    assert ws.prompts.get("p").defaults["max_tokens"] == 4


def test_new_settings_reach_the_engine_the_trace_and_the_next_run(ws, engine):
    ws.prompts.save("p", "hi")
    options = {
        "frequency_penalty": 0.5,
        "presence_penalty": 0.25,
        "logit_bias": {" blue": -1, 5: 2.0},
        "logprobs": 1,
        "exact": True,
    }
    done = ws.prompts.run("p", **options)
    request = engine.requests[0]
    assert request.exact
    assert request.sampling.logit_bias == ((" blue", -1.0), (5, 2.0))
    attributes = ws.traces.get(done.trace_id).spans[1].attributes
    assert attributes["gen_ai.request.frequency_penalty"] == 0.5
    assert attributes["llmops.request.exact"] is True
    assert done.logprobs[0].top[1] == ("other", -2.0)
    ws.prompts.run("p")
    assert engine.requests[1].sampling == request.sampling
    assert engine.requests[1].exact
    assert len(ws.prompts.history("p")) == 1


def test_the_setting_exact_holds_where_a_call_says_nothing(ws, engine):
    ws.configure(exact=True)
    ws.prompts.run(ws.prompts.scratch("hi"))
    ws.prompts.run(ws.prompts.scratch("hi"), exact=False)
    assert [r.exact for r in engine.requests] == [True, False]


def test_log_probabilities_survive_a_broken_off_map(ws, engine):
    content = ws.prompts.scratch("{{ q }}")
    rows = [{"q": "a"}, {"q": "b"}]
    broken_off(ws, content, rows, logprobs=2)
    table = ws.prompts.map(content, rows, logprobs=2)
    assert table[0].logprobs[0].token == "echo a"
    assert table[0].logprobs == ws.prompts.map(content, rows, logprobs=2)[0].logprobs


# Adapters


@pytest.fixture
def adapter(ws, tmp_path):
    from gguf_files import write_gguf

    return ws.models.add(write_gguf(tmp_path / "style.gguf", kind="adapter"))


def test_an_adapter_is_registered_and_not_offered_as_a_model(ws, adapter, tmp_path):
    from gguf_files import write_gguf

    assert [a.ref for a in ws.models.adapters()] == ["style@1"]
    assert ws.models.list() == []
    with pytest.raises(ModelError, match="--adapter style"):
        ws.models.resolve("style")
    with pytest.raises(ModelError, match="--adapter style"):
        ws.models.use("style")
    ws.models.add(write_gguf(tmp_path / "base.gguf", fill=1.0))
    assert ws.models.resolve().ref == "base@1"
    with pytest.raises(ModelError, match="whole model"):
        ws.models.adapter("base")
    with pytest.raises(UnknownNameError, match="Did you mean 'style'"):
        ws.models.adapter("stile")


@pytest.mark.parametrize(
    "given", ["style:0.5", ["style@1:0.5"], ("style", 0.5), [("style", np.float32(0.5))]]
)
def test_an_adapter_goes_to_the_engine_by_path_and_into_the_trace_by_name(
    ws, engine, adapter, given
):
    ws.prompts.save("p", "hi")
    done = ws.prompts.run("p", adapters=given)
    assert engine.requests[0].adapters == ((str(adapter.path), 0.5),)
    span = ws.traces.get(done.trace_id).spans[1]
    assert span.attributes["llmops.request.adapters"] == [["style@1", 0.5]]
    ws.prompts.run("p")
    assert engine.requests[1].adapters == engine.requests[0].adapters
    ws.prompts.run("p", adapters=[])
    assert engine.requests[2].adapters == ()


# Versions and schemas

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


def test_a_completion_is_copied_and_compared(ws, engine):
    done = ws.prompts.run(ws.prompts.scratch("hi"), logprobs=1)
    assert pickle.loads(pickle.dumps(done)) == done


# Export and import


def test_examples_follow_their_content_into_another_store(ws, engine, tmp_path):
    few = ws.data.add("few", [{"input": "2+2", "output": "four"}])
    ws.prompts.save("math", "user: {{ q }}", examples=few)
    ws.export(tmp_path / "out")
    with lo.open(tmp_path / "b.db") as other:
        fake = plug(other)
        other.data.add("few", [{"input": "OTHER", "output": "WRONG"}])
        assert other.import_(tmp_path / "out") == {"prompts": 1, "data": 1}
        other.prompts.run("math", {"q": "3+3"})
        assert [m.content for m in fake.requests[0].messages] == ["2+2", "four", "3+3"]
        assert other.prompts.get("math").content.examples.dataset == "few@2"
        assert other.import_(tmp_path / "out") == {"prompts": 0, "data": 0}


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


def test_a_conversation_is_kept_and_sent_along_without_personal_data(ws, engine):
    ws.configure(redact="pii")
    content = ws.prompts.scratch("{{ q }}")
    for q in ("I am ada@example.com", "who am I?"):
        ws.prompts.run(content, {"q": q}, session="chat")
    assert "ada@example.com" not in "\n".join(ws.store.read().iterdump())
    assert [m.content for m in engine.requests[1].messages] == [
        "I am [EMAIL]",
        "echo I am [EMAIL]",
        "who am I?",
    ]


def test_an_answer_that_the_engine_breaks_off_is_an_error_and_not_an_answer(ws, engine):
    from llmops_jupyter.engine.protocol import Finished, Token
    from llmops_jupyter.errors import EngineError
    from llmops_jupyter.records import Timing, Usage

    def broken_off(requests):
        for request in requests:
            yield Token(request.id, "half an")
            yield Finished(request.id, "half an", "interrupted", Usage(2, 2), Timing(), 1)

    engine.generate = broken_off
    with pytest.raises(EngineError, match="closed while it answered"):
        ws.prompts.run(ws.prompts.scratch("hello"))
    assert ws.traces.last().status == "error"
    assert "half an" in ws.traces.last().text
