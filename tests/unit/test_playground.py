"""Variants of a prompt side by side: tried with the same values, stopped, compared, kept as versions."""

from __future__ import annotations

import threading

import pytest
from engine_fakes import FakeEngine, plug
from playground_fakes import SlowEngine, until

from llmops_jupyter.commands.handover import compare_line, prompt_cell, quoted, values_cell
from llmops_jupyter.commands.options import cell_of
from llmops_jupyter.commands.parsing import parse, parse_magic, split_line
from llmops_jupyter.errors import LLMOpsError, OptionError, TemplateError, UnknownNameError
from llmops_jupyter.evaluation.variant import as_variant
from llmops_jupyter.prompts import working
from llmops_jupyter.prompts.candidates import read_settings, written
from llmops_jupyter.prompts.playground import Value
from llmops_jupyter.tracing import Provenance


@pytest.fixture
def greet(ws):
    plug(ws)
    ws.prompts.save("greet", "Greet {{ name }}.")
    ws.prompts.save("greet", "Say hello to {{ name }}.")
    return ws


@pytest.fixture
def playground(greet):
    made = greet.prompts.playground("greet@1", {"name": "Ann", "other": "Bob"})
    yield made
    made.close()


def settled(playground, made):
    assert playground.wait(10)
    assert made.over
    return made


def test_it_begins_with_a_version_and_its_last_settings(greet):
    greet.prompts.run("greet@2", {"name": "x"}, temperature=0.2, seed=5)
    (first,) = greet.prompts.playground("greet").candidates
    assert (first.key, first.template, first.source) == ("A", "Say hello to {{ name }}.", "greet@2")
    assert dict(first.settings) == {"temperature": 0.2, "seed": 5}


def test_without_a_name_it_is_empty_and_a_new_name_gets_its_first_version(greet):
    empty = greet.prompts.playground()
    assert (empty.name, empty.candidates[0].template) == ("", "")
    assert "is empty" in empty.candidates[0].problem()
    with pytest.raises(OptionError, match="Give the prompt a name"):
        empty.change("A", "Hi") and empty.save("A")
    assert empty.save("A", name="hi").ref == "hi@1"
    assert greet.prompts.playground("quite-new").save
    with pytest.raises(OptionError, match="cannot be the name of a prompt"):
        greet.prompts.playground("Not A Name")
    with pytest.raises(UnknownNameError):
        greet.prompts.playground("greet@9")


def test_up_to_four_stand_side_by_side_and_one_stays(playground):
    assert playground.add().template == playground.candidates[0].template
    assert playground.add("greet@2").source == "greet@2"
    playground.add()
    with pytest.raises(OptionError, match="4 variants fit"):
        playground.add()
    playground.remove("B")
    assert [c.key for c in playground.candidates] == ["A", "C", "D"]
    assert playground.add().key == "B"
    assert [c.key for c in playground.candidates] == ["A", "B", "C", "D"]
    for key in "BCD":
        playground.remove(key)
    with pytest.raises(OptionError, match="One variant stays"):
        playground.remove("A")
    with pytest.raises(UnknownNameError, match="no variant 'B' here any more"):
        playground.change("B", "x")


def test_values_are_typed_or_those_of_the_notebook(playground):
    assert playground.value("name") == "Ann"
    playground.values["name"] = Value(variable="other")
    assert playground.value("name") == "Bob"
    playground.values["name"] = Value("typed {{ name }}")
    assert playground.value("name") == "typed {{ name }}"
    playground.values["name"] = Value(variable="gone")
    with pytest.raises(UnknownNameError, match="'gone'"):
        playground.value("name")
    playground.values["name"] = Value("")
    with pytest.raises(TemplateError, match="has no value"):
        playground.run()
    assert playground.rounds == []


def test_variables_are_those_of_all_templates_but_what_documents_fill(playground):
    playground.add()
    playground.change("B", "{{ context }} {{ question }}", {"rag": "docs"})
    assert playground.names() == ("name", "question")
    playground.change("B", "{{ broken", {})
    assert playground.names() == ("name",)
    with pytest.raises(TemplateError):
        playground.start()
    assert not playground.busy


def test_a_try_leaves_a_trace_like_a_cell(greet):
    greet.tracer.provenance = lambda: Provenance("nb.ipynb", "cell-1", 3, "k")
    playground = greet.prompts.playground("greet@1", {"name": "Ann"})
    greet.tracer.provenance = lambda: Provenance("other.ipynb", "cell-9", 9, "k")
    playground.add("greet@2")
    playground.change("B", settings={"temperature": 0.0, "max_tokens": 9})
    with greet.tracer.span("a cell's own work"):
        made = playground.start()
    settled(playground, made)
    a, b = (greet.traces.get(trial.trace_id) for trial in made.trials)
    assert (a.root.prompt, b.root.prompt) == ("greet@1", "greet@2")
    assert (a.root.name, a.root.status, a.text) == ("prompt greet@1", "ok", "echo Greet Ann.")
    assert (a.root.notebook, a.root.cell_id) == ("nb.ipynb", "cell-1")
    assert b.root.attributes["llmops.playground.variant"] == "B"
    assert b.root.attributes["llmops.playground.round"] == 1
    sampling = greet.engine.engine().requests[-1].sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 9)
    playground.close()


def test_what_is_no_version_runs_without_one(playground, greet):
    playground.change("A", "Bye {{ name }}")
    (trial,) = playground.run().trials
    assert (trial.ref, trial.text, trial.status) == ("", "echo Bye Ann", "done")
    assert greet.traces.get(trial.trace_id).root.prompt == ""


def test_one_alone_is_tried(playground):
    playground.add()
    made = settled(playground, playground.start("B"))
    assert [t.candidate.key for t in made.trials] == ["B"]
    assert made.verdict() == ""


def test_what_comes_is_told_and_stop_keeps_what_there_is(greet):
    engine = plug(greet, SlowEngine())
    playground = greet.prompts.playground("greet", {"name": "Ann"})
    playground.add()
    seen = []
    made = playground.start(changed=lambda: seen.append(made.trials[0].text))
    engine.let(2)
    until(lambda: made.trials[0].text.strip() == "one two")
    assert "one " in seen
    assert playground.busy
    with pytest.raises(OptionError, match="It runs already"):
        playground.start()
    with pytest.raises(OptionError, match="It runs already"):
        playground.start_sample("rows")
    playground.stop()  # while the engine is in the middle of a word
    settled(playground, made)
    first, second = made.trials
    assert (first.status, first.text.strip()) == ("stopped", "one two")
    assert (second.status, second.completion) == ("stopped", None)
    trace = greet.traces.get(first.trace_id)
    assert (trace.root.status, trace.text.strip()) == ("interrupted", "one two")
    assert len(engine.requests) == 1
    engine.let(1)
    assert engine.closed.wait(5)  # the model has given up at its next word
    playground.close()


def test_a_stop_before_the_model_is_ready_asks_it_nothing(greet):
    ready, engine = threading.Event(), FakeEngine()
    greet.engine.engine = lambda model=None: (ready.wait(10), engine)[1]
    playground = greet.prompts.playground("greet", {"name": "Ann"})
    made = playground.start()
    playground.stop()
    assert playground.stopping
    ready.set()
    settled(playground, made)
    assert made.trials[0].status == "stopped"
    assert engine.requests == []
    playground.close()


def test_an_interrupt_of_the_kernel_ends_what_a_cell_runs(playground, greet):
    class Interrupted(FakeEngine):
        def generate(self, requests):
            yield from list(super().generate(requests))[:1]
            raise KeyboardInterrupt

    plug(greet, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        playground.run()
    (made,) = playground.rounds
    assert (made.trials[0].status, made.trials[0].text) == ("stopped", "echo Greet Ann.")
    assert not playground.busy


def test_an_error_is_that_of_one_variant_and_the_others_go_on(playground, greet):
    playground.change("A", "a bad one for {{ name }}")
    playground.add("greet@2")
    made = settled(playground, playground.start())
    first, second = made.trials
    assert (first.status, first.error) == ("failed", "too long")
    assert second.status == "done"

    def broken(*_, **__):
        raise ZeroDivisionError("odd")

    greet.prompts.stream = broken
    (trial, _) = settled(playground, playground.start()).trials
    assert "ZeroDivisionError: odd" in trial.error
    assert trial.trace_id == ""


def test_a_workspace_that_was_closed_is_told(ws):
    plug(ws)
    ws.prompts.save("greet", "Hi")
    playground = ws.prompts.playground("greet")
    ws.close()
    with pytest.raises(LLMOpsError, match="closed"):
        playground.start()
    playground.close()


def test_its_thread_ends_when_it_is_idle_or_closed(greet, monkeypatch):
    monkeypatch.setattr(working, "IDLE_S", 0.05)

    def threads():
        return [t for t in threading.enumerate() if t.name == "llmops-playground"]

    playground = greet.prompts.playground("greet", {"name": "x"})
    assert threads() == []
    settled(playground, playground.start())
    until(lambda: not threads())
    settled(playground, playground.start())
    monkeypatch.setattr(working, "IDLE_S", 60)
    settled(playground, playground.start())
    assert len(threads()) == 1
    playground.close()
    until(lambda: not threads())


def test_a_verdict_says_what_differs(playground):
    playground.add("greet@2")
    playground.change("B", settings={"temperature": 0.5})
    playground.add()
    playground.change("C", playground.candidate("A").template, {})
    verdict = playground.run().verdict()
    assert verdict.startswith(
        "B against A: another text, temperature 0.5 instead of the usual one, "
    )
    assert "% of the words shared" in verdict
    assert verdict.endswith("C against A: the same answer.")


def test_earlier_rounds_come_back_with_what_they_were_of(playground):
    playground.run()
    playground.change("A", "Other {{ name }}")
    playground.add()
    playground.run()
    assert [r.number for r in playground.rounds] == [1, 2]
    assert playground.recall(1).trials[0].text == "echo Greet Ann."
    assert [c.template for c in playground.candidates] == ["Greet {{ name }}."]
    with pytest.raises(UnknownNameError, match="no round 9"):
        playground.recall(9)


def test_a_variant_becomes_a_version_and_an_alias_moves_only_from_where_it_was_seen(
    playground, greet
):
    playground.change("A", "Welcome {{ name }}")
    with pytest.raises(OptionError, match="no version yet"):
        playground.point("A", "production", None)
    kept = playground.save("A", "warmer")
    assert (kept.ref, kept.note, kept.created) == ("greet@3", "warmer", True)
    assert not playground.save("A").created
    assert playground.target("production") is None
    assert playground.point("A", "production", None).aliases == ("production",)
    greet.prompts.alias("greet@1", "production")  # by another kernel
    with pytest.raises(OptionError, match="points at version 1 now"):
        playground.point("A", "production", 3)
    assert greet.prompts.get("greet@production").version == 1
    with pytest.raises(OptionError, match="cannot be an alias"):
        playground.point("A", "3", None)


def test_rows_of_a_data_set_are_answered_by_all(playground, greet):
    greet.data.add("people", [{"name": n} for n in ("x", "y", "bad one", "z")])
    playground.add()
    playground.change("B", "Bye {{ name }} from {{ other }}")
    made = playground.start_sample("people", 3)
    assert playground.wait(10)
    assert made.status == "done"
    assert list(made.answers("A").values())[:2] == ["echo Greet x.", "echo Greet y."]
    assert list(made.answers("B").values())[2] == "failed: too long"
    assert next(iter(made.answers("B").values())) == "echo Bye x from Bob"
    assert "B: 3/3 rows" in made.progress
    playground.variables = {"rows": [{"name": "v"}], "other": "b"}
    made = playground.start_sample("rows", 500)
    assert playground.wait(10)
    assert list(made.answers("A").values()) == ["echo Greet v."]
    with pytest.raises(UnknownNameError):
        playground.start_sample("no-such-set")
    assert not playground.busy


def test_a_sample_is_stopped_and_keeps_what_was_answered(greet):
    engine = plug(greet, SlowEngine("word"))
    playground = greet.prompts.playground("greet")
    playground.add()
    playground.variables = {"rows": [{"name": str(n)} for n in range(9)]}
    made = playground.start_sample("rows", 9)
    engine.let(2)
    until(lambda: "2/9" in made.progress)
    playground.stop()
    engine.let(9)
    assert playground.wait(10)
    assert made.status == "stopped"
    assert 2 <= len(made.answers("A")) < 9
    assert made.answers("B") == {}
    playground.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"temperature": "warm"}, "temperature is a number"),
        ({"max_tokens": "1.5"}, "max_tokens is a whole number"),
        ({"exact": "perhaps"}, "exact is yes or no"),
        ({"temprature": "1"}, "Did you mean 'temperature'"),
        ({"adapters": "a:b"}, "NAME:SCALE"),
    ],
)
def test_settings_that_cannot_be_read_say_why(given, says):
    with pytest.raises(OptionError, match=says):
        read_settings(given)


def test_settings_are_written_as_they_are_read():
    texts = {
        "model": "qwen",
        "temperature": "0.25",
        "max_tokens": "64",
        "stop": "a\n b",
        "exact": "yes",
        "adapters": "style:0.5, other",
        "guard": "none",
    }
    assert written(read_settings({**texts, "seed": " ", "rag": ""})) == texts


def test_a_cell_says_all_that_a_variant_has(playground):
    settings = {
        "model": "my model",
        "temperature": 0.5,
        "seed": -3,
        "stop": ["a b", 'say "x"'],
        "adapters": ["style:0.5", "other"],
        "exact": True,
        "guard": "none",
    }
    playground.change("A", "Hi {{ name }}\n\nand {{ other }}", settings)
    playground.values = {"name": Value("O'Neil\n2"), "other": Value(variable="other")}
    line, _, body = prompt_cell(playground, "A").partition("\n")
    assert body == "Hi {{ name }}\n\nand {{ other }}\n"
    values = parse(cell_of("prompt"), line.removeprefix("%%prompt"))
    assert values["name"] == "greet"
    assert {k: values[k] for k in ("model", "temperature", "seed", "stop", "exact", "guard")} == {
        k: settings[k] for k in ("model", "temperature", "seed", "stop", "exact", "guard")
    }
    assert values["adapter"] == ["style:0.5", "other"]
    names = {}
    exec(values_cell(playground, "A"), {"other": "b"}, names)
    assert names == {"name": "O'Neil\n2"}


def test_what_no_cell_can_say_runs_as_its_version(greet):
    greet.prompts.save("sums", "Add {{ x }}", schema={"type": "integer"})
    playground = greet.prompts.playground("sums", {"x": 1})
    playground.change("A", settings={"seed": 1})
    command, values = parse_magic("prompt", prompt_cell(playground, "A").removeprefix("%prompt "))
    assert (command.name, values["ref"], values["seed"]) == ("run", "sums@1", 1)
    playground.change("A", "Add {{ x }} and 1")
    with pytest.raises(OptionError, match="has schema"):
        prompt_cell(playground, "A")
    assert playground.save("A").content.schema == {"type": "integer"}


def test_a_comparison_is_handed_over_as_a_line(playground):
    with pytest.raises(OptionError, match="takes two"):
        compare_line(playground, "people", "exact")
    playground.add("greet@2")
    playground.change("B", settings={"model": "m", "temperature": 0.0, "adapters": ["a:0.5", "b"]})
    line = compare_line(playground, "people", "contains=New York")
    command, values = parse_magic("evaluate", line.removeprefix("%evaluate "))
    assert command.name == "compare"
    assert (values["data"], values["metric"]) == ("people", ["contains=New York"])
    first, second = map(as_variant, values["variants"])
    assert (first.prompt, dict(first.options)) == ("greet@1", {})
    assert second.prompt == "greet@2"
    assert dict(second.options) == {"model": "m", "temperature": 0.0, "adapters": ["a:0.5", "b"]}
    with pytest.raises(OptionError, match="Name a data set"):
        compare_line(playground, "people", "")
    playground.change("B", settings={"stop": ["a", "b"]})
    with pytest.raises(OptionError, match="cannot be said on a line"):
        compare_line(playground, "people", "exact")
    playground.change("B", "other text")
    with pytest.raises(OptionError, match="B is no version yet"):
        compare_line(playground, "people", "exact")


@pytest.mark.parametrize(
    "text",
    ["a", "-x", "a b", "it's", 'say "hi"', "", "\\", "a b\\", "'x", '"', 'a"b', "' and \" x"],
)
def test_words_are_quoted_as_lines_are_cut(text):
    assert [w.text for w in split_line(quoted(text))] == [text]


def test_a_word_that_no_line_can_have_is_refused():
    with pytest.raises(OptionError, match="A line cannot hold"):
        quoted("a\nb")
