"""Optimisation: within the budget, resumed, honest on rows that it never saw."""

from __future__ import annotations

import dataclasses
import random

import pytest
from engine_fakes import FakeEngine, plug
from shells import Notebook

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation import Metric
from llmops_jupyter.evaluation.optimizing.instructions import (
    can_stand,
    edits,
    instruction_of,
    labels_of,
    with_instruction,
)
from llmops_jupyter.evaluation.optimizing.proposing import cleaned
from llmops_jupyter.prompts.template import fill, variables_of
from llmops_jupyter.records import Message

LABELS = ("cold", "warm")


def rows(count, start=0):
    return [
        {"id": f"r{n}", "text": f"thing {n}", "expected": LABELS[n % 2]}
        for n in range(start, start + count)
    ]


class Obedient(FakeEngine):
    """Knows the answers, but writes them as wanted only if `told` holds of the messages."""

    context_length = 4_000

    def __init__(self, told):
        super().__init__()
        self.told = told

    def generate(self, requests):
        for request in requests:
            whole = "\n".join(m.content for m in request.messages)
            number = request.messages[-1].content.rpartition("thing ")[2]
            right = (
                LABELS[int(number) % 2] if number.isdigit() else "Answer with one of: cold, warm."
            )
            said = (
                right if self.told(whole, request) or not number.isdigit() else f"I think {right}"
            )
            self.answer = lambda _, said=said: said
            yield from super().generate([request])


def names_labels(text, _):
    return "Answer with exactly one of" in text


@pytest.fixture
def prompt(ws):
    return ws.prompts.save("sort", "system: Sort things.\nuser: {{ text }}").ref


def asked(engine):
    """The inputs that the engine got, proposals left out."""
    found = [r.messages[-1].content.rpartition("thing ")[2] for r in engine.requests]
    return [int(n) for n in found if n.isdigit()]


def test_it_finds_that_the_labels_must_be_named(ws, prompt):
    engine = plug(ws, Obedient(names_labels))
    made = ws.evaluation.optimize(prompt, rows(120), "exact", budget=400, shots=())
    assert made.is_better
    assert made.best.name == "name the labels"
    assert made.comparison.b_value == 1.0
    assert len(engine.requests) == made.computed <= 400
    assert "on rows that it never saw" in str(made)
    assert "+system" not in made.diff()
    assert "Answer with exactly one of: " in made.diff()
    assert made.chart()._repr_png_().startswith(b"\x89PNG")


def test_it_finds_that_examples_help(ws, prompt):
    plug(ws, Obedient(lambda _, request: sum(m.role == "assistant" for m in request.messages) >= 2))
    made = ws.evaluation.optimize(prompt, rows(120), "exact", budget=600, shots=(2,))
    assert made.is_better
    assert made.best.content.examples is not None
    kept = made.save(note="try")
    assert kept.ref == "sort@2"
    assert ws.prompts.get("sort@2").content == made.best.content
    assert ws.prompts.alias_log("sort") == []


def test_it_uses_a_model_s_proposals(ws, prompt):
    plug(ws, Obedient(lambda text, _: "Answer with one of: cold, warm." in text))
    made = ws.evaluation.optimize(prompt, rows(120), "exact", budget=500, shots=(), proposer="m")
    assert made.best.name.startswith("proposal")
    assert made.is_better
    assert any("proposals were dropped: it was there already" in n for n in made.notes)


def test_held_out_rows_are_not_seen_before_the_end(ws, prompt):
    engine = plug(ws, Obedient(names_labels))
    made = ws.evaluation.optimize(
        prompt, rows(80), "exact", held_out=rows(30, 500), budget=300, shots=(2,)
    )
    seen = asked(engine)
    first = next(i for i, n in enumerate(seen) if n >= 500)
    assert all(n >= 500 for n in seen[first:])
    assert len(seen) - first == 60
    assert made.held_out == 30


def test_examples_are_never_scored(ws, prompt):
    engine = plug(ws, Obedient(lambda _, __: False))
    ws.evaluation.optimize(
        prompt, rows(80), "exact", held_out=rows(30, 500), budget=300, shots=(4,)
    )
    shown = {
        int(m.content.rpartition("thing ")[2])
        for r in engine.requests
        for m in r.messages[:-1]
        if m.role == "user"
    }
    assert shown
    assert not shown & set(asked(engine))


@pytest.mark.parametrize("budget", [84, 150, 300])
def test_the_budget_holds(ws, prompt, budget):
    engine = plug(ws, Obedient(names_labels))
    made = ws.evaluation.optimize(
        prompt, rows(100), "exact", held_out=rows(30, 500), budget=budget, proposer="m"
    )
    assert len(engine.requests) <= budget
    assert made.computed == len(engine.requests)


def test_a_search_that_was_broken_off_computes_nothing_twice(ws, prompt):
    engine = plug(ws, Obedient(names_labels))

    def stop(text):
        if len(engine.requests) > 40:
            raise KeyboardInterrupt

    options = {"held_out": rows(30, 500), "budget": 300, "shots": (2,)}
    with pytest.raises(KeyboardInterrupt):
        ws.evaluation.optimize(prompt, rows(80), "exact", progress=stop, **options)
    before = len(engine.requests)
    made = ws.evaluation.optimize(prompt, rows(80), "exact", **options)
    assert made.recorded >= before - 2
    keys = [tuple((m.role, m.content) for m in r.messages) for r in engine.requests]
    assert len(keys) - len(set(keys)) <= 2  # the answer that the interrupt hit
    assert made.is_better


def test_where_nothing_helps_it_rarely_says_that_something_does(ws, prompt):
    better = 0
    for seed in range(20):
        drawn = random.Random(seed)
        engine = plug(ws, FakeEngine(lambda _, d=drawn: d.choice(LABELS)))
        engine.model_digest = f"{seed:064d}"
        made = ws.evaluation.optimize(
            prompt, rows(60), "exact", held_out=rows(60, 500), budget=300, shots=(2,), seed=seed
        )
        better += made.is_better
        assert (
            "keep sort@1" in made.sentence()
            or made.is_better
            or "nothing was better" in made.sentence()
        )
    assert better <= 3


def test_the_original_wins_ties(ws, prompt):
    plug(ws, Obedient(lambda _, __: True))
    made = ws.evaluation.optimize(prompt, rows(100), "exact", budget=300, shots=())
    assert made.comparison is None
    assert made.best.name == "original"
    assert made.sentence() == "nothing was better than sort@1 on training rows: keep it"


def test_settings_of_the_original_hold_for_all_candidates(ws, prompt):
    engine = plug(ws, Obedient(lambda _, __: True))
    ws.prompts.run(prompt, {"text": "thing 1"}, temperature=0.25)
    engine.requests.clear()
    ws.evaluation.optimize(prompt, rows(100), "exact", budget=300)
    assert {r.sampling.temperature for r in engine.requests} == {0.25}
    engine.told = names_labels
    engine.model_digest = "n" * 64
    kept = ws.evaluation.optimize(prompt, rows(100), "exact", budget=300, shots=()).save()
    assert kept.ref == "sort@2"
    assert kept.defaults["temperature"] == 0.25


@pytest.mark.parametrize(
    ("data", "options", "error", "says"),
    [
        (rows(15), {}, DataError, "needs 20 rows to score on"),
        (rows(100), {"budget": 30}, OptionError, "too small"),
        (
            rows(60),
            {"held_out": rows(20, 50)},
            DataError,
            "10 held-out rows are among the training rows",
        ),
        ([{"text": "x"}] * 40, {}, DataError, "no expected answers"),
        ([{"expected": "x", "other": str(n)} for n in range(60)], {}, DataError, "takes text"),
        (rows(60), {"cluster": "nope"}, DataError, "cluster"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    ws, prompt, data, options, error, says
):
    engine = plug(ws)
    with pytest.raises(error, match=says):
        ws.evaluation.optimize(prompt, data, "exact", **options)
    assert engine.requests == []


def test_a_split_by_cluster_divides_none(ws, prompt):
    data = [{**r, "doc": str(i // 5)} for i, r in enumerate(rows(150))]
    engine = plug(ws, Obedient(names_labels))
    made = ws.evaluation.optimize(prompt, data, "exact", cluster="doc", budget=400, shots=())
    held = {i.case.row["doc"] for i in ws.evaluation.get(made.comparison.runs[0]).items}
    train = {str(n // 5) for n in asked(engine)[: -2 * made.held_out]}
    assert not held & train


# Instructions.


@pytest.mark.parametrize(
    ("template", "instruction"),
    [
        ("system: Be kind.\nuser: {{ q }}", "Be kind."),
        ("Sort this.\n\n{{ q }}", "Sort this."),
        ("{{ q }}", ""),
        ("user: Sort {{ q }} now.", ""),
        ("user: One.\nTwo: {{ q }}", "One."),
        ("Just ask.", "Just ask."),
    ],
)
def test_the_instruction_is_found_and_replaced_and_the_rest_stays(template, instruction):
    assert instruction_of(template) == instruction
    changed = with_instruction(template, "New.")
    assert instruction_of(changed) == "New."
    assert variables_of(changed) == variables_of(template)
    if "{{" in template:
        before = fill(template, {"q": "QQQ"})[-1].content
        after = fill(changed, {"q": "QQQ"})[-1].content
        assert before.partition("QQQ")[2] == after.partition("QQQ")[2]


def test_markers_in_messages_stay_text():
    template = "system: A.\nuser: x\n\\user: not a marker\n{{ q }}"
    changed = with_instruction(template, "B.\nuser: inside")
    assert [m.role for m in fill(changed, {"q": "1"})] == ["system", "user"]
    assert "user: not a marker" in fill(changed, {"q": "1"})[1].content


def test_proposals_that_break_the_template_cannot_stand():
    template = "system: About {{ topic }}.\nuser: {{ q }}"
    assert can_stand(template, with_instruction(template, "On {{ topic }} only.")) == ""
    assert "changes the variables: topic" in can_stand(template, with_instruction(template, "New."))
    assert "cannot be parsed" in can_stand(template, with_instruction(template, "{{ open"))


def test_edits_follow_from_the_expected_answers():
    names = [name for name, _ in edits("Sort.", ["a", "b"] * 5)]
    assert names[:2] == ["name the labels", "labels as a list"]
    assert edits("Add.", ["1", "2.5", "1,000"])[0][1] == "Add.\nAnswer with the number only."
    assert edits("", ['{"a": 1}'])[0][0] == "JSON only"
    assert edits("", ["New York", "Rome"])[0][0] == "few words"
    assert labels_of(["long " * 20, "x"] * 5) == []


@pytest.mark.parametrize(
    "text",
    [
        "Do it.",
        "```\nDo it.\n```",
        '"Do it."',
        "Here is the new instruction:\nDo it.",
        "Instruction: Do it.",
        "---\nDo it.\n---",
    ],
)
def test_proposals_are_taken_out_of_their_wrapping(text):
    assert cleaned(text) == "Do it."


def test_the_magic_shows_and_saves(ws, prompt, capsys):
    notebook = Notebook(ws)
    try:
        notebook.engine = plug(ws, Obedient(names_labels))
        ws.data.add("things", rows(120))
        notebook.run(
            "%evaluate optimize sort@1 --data things --metric exact --budget 400 --shots 0 --save sort -o made"
        )
        assert notebook.names["made"].is_better
        assert "kept as sort@2; no alias was moved" in capsys.readouterr().out
        with pytest.raises(OptionError, match="one metric"):
            notebook.run("%evaluate optimize sort@1 --data things")
        with pytest.raises(OptionError, match="takes sizes"):
            notebook.run("%evaluate optimize sort@1 --data things --metric exact --shots many")
    finally:
        notebook.close()


@pytest.mark.model
def test_the_bundled_model_is_searched_to_the_end(ws, model_path):
    ws.models.add(model_path, name="smollm2")
    good = ["lovely", "great", "wonderful", "nice", "superb", "pleasant", "fine", "charming"]
    poor = ["awful", "terrible", "boring", "sad", "horrible", "dull", "poor", "nasty"]
    data = [
        {"text": f"The {thing} was {word}.", "expected": label}
        for thing in ("film", "meal", "trip")
        for label, words in (("positive", good), ("negative", poor))
        for word in words
    ]
    prompt = ws.prompts.save("mood", "system: Say how the writer feels.\nuser: {{ text }}")
    made = ws.evaluation.optimize(
        prompt.ref,
        data,
        "iexact",
        budget=120,
        shots=(2,),
        temperature=0.0,
        max_tokens=4,
        proposer="smollm2",
    )
    assert made.computed <= 120
    assert made.tried[0].rounds
    assert made.sentence()


def test_clusters_hold_in_the_comparison_too(ws, prompt):
    plug(ws, Obedient(names_labels))
    some = [{**r, "doc": n // 5} for n, r in enumerate(rows(200))]
    made = ws.evaluation.optimize(prompt, some, "exact", budget=300, cluster="doc", shots=())
    assert made.comparison.clusters is not None
    assert made.comparison.clusters < made.comparison.n


def test_held_out_rows_that_put_the_same_question_are_refused(ws, prompt):
    plug(ws, Obedient(names_labels))
    again = [{**r, "id": f"h{r['id']}", "why": "copied"} for r in rows(20)]
    with pytest.raises(DataError, match="20 held-out rows are among the training rows"):
        ws.evaluation.optimize(prompt, rows(60), "exact", held_out=again)


def failing(share):
    """Fails on a share of the rows, the same ones each time."""

    class Failing(Obedient):
        asked = 0

        def generate(self, requests):
            for request in requests:
                type(self).asked += 1
                number = int(request.messages[-1].content.rpartition("thing ")[2] or 0)
                if number % 10 < 10 * share:
                    made = dataclasses.replace(request, messages=(Message("user", "bad"),))
                else:
                    made = request
                yield from super().generate([made])

    return Failing(names_labels)


@pytest.mark.parametrize("budget", [120, 150, 190])
def test_the_budget_holds_where_answers_fail(ws, prompt, budget):
    engine = failing(0.6)
    plug(ws, engine)
    made = ws.evaluation.optimize(
        prompt, rows(60), "exact", held_out=rows(20, 100), budget=budget, proposer=None
    )
    assert type(engine).asked <= budget
    assert made.computed == type(engine).asked


def test_a_candidate_does_not_win_by_the_rows_it_leaves_out(ws, prompt):
    """It scores 9 where it says anything, and the original 5 everywhere."""

    class Choosy(Obedient):
        def generate(self, requests):
            for request in requests:
                named = "Answer with exactly one of" in "\n".join(
                    m.content for m in request.messages
                )
                number = int(request.messages[-1].content.rpartition("thing ")[2])
                said = ("9" if number % 5 == 0 else "none") if named else "5"
                self.answer = lambda _, said=said: said
                yield from FakeEngine.generate(self, [request])

    plug(ws, Choosy(names_labels))
    mark = Metric(
        "mark", each=lambda c: float(c.output) if c.output.isdigit() else None, digest="m"
    )
    made = ws.evaluation.optimize(prompt, rows(200), mark, budget=400, shots=())
    assert not made.is_better


def test_it_says_how_often_held_out_rows_were_looked_at(ws, prompt):
    plug(ws, Obedient(names_labels))
    ws.data.add("te", rows(30, 500))
    for seed in range(2):
        made = ws.evaluation.optimize(prompt, rows(60), "exact", held_out="te", seed=seed, shots=())
    assert "te@1 was looked at" in str(made)


def test_an_engine_that_fails_is_named_as_the_cause(ws, prompt):
    plug(ws, failing(1.0))
    mark = Metric("mark", each=lambda c: float(len(c.output)), digest="n")
    with pytest.raises(DataError, match=r"scored no answer of 'original': (?!it abstains)"):
        ws.evaluation.optimize(prompt, rows(80), mark, budget=200)
