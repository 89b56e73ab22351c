"""What a run learns from and what it is looked at with, and what is said of rows that cannot be used."""

from __future__ import annotations

import pytest

from llmops_jupyter.data.examples import find_format
from llmops_jupyter.errors import DataError
from llmops_jupyter.finetune.material import prepare
from llmops_jupyter.finetune.packing import Tokens
from llmops_jupyter.finetune.recipe import Recipe

FORM = find_format(["question", "answer"])


class Letters:
    """An encoder with a token for each letter."""

    context_length = 50

    def encode(self, example, row=""):
        prompt, answer = example.prompt, example.answer
        if not answer:
            raise DataError("The answer is empty.")
        return [Tokens(tuple(map(ord, prompt + answer)), len(prompt), row)]


def rows(count, start=0):
    return [
        (f"r{i}", {"question": f"{i}?", "answer": f"no. {i}"}) for i in range(start, start + count)
    ]


def made(train, evals=None, **recipe):
    return prepare(train, evals, FORM, Letters(), Recipe(**recipe))


def ids(examples):
    return {sequence.row for example in examples for sequence in example}


def test_a_share_is_set_apart_and_stays_when_rows_are_added():
    before, after = made(rows(100)), made(rows(200))
    looked = ids(before.material.evals)
    assert 4 <= len(looked) <= 20
    assert looked.isdisjoint(ids(before.material.train))
    assert looked <= ids(after.material.evals)
    assert ids(made(rows(100), seed=1).material.evals) != looked


def test_equal_examples_stay_on_one_side():
    twins = [(f"t{i}", row) for i, (_, row) in enumerate(rows(60))]
    found = made(rows(60) + twins)
    for number in range(60):
        sides = {f"r{number}", f"t{number}"}
        assert sides <= ids(found.material.train) or sides <= ids(found.material.evals)


def test_few_examples_leave_something_on_both_sides():
    found = made(rows(10), eval_share=0.01)
    assert len(ids(found.material.evals)) == 1
    assert len(ids(found.material.train)) == 9


def test_eval_examples_are_not_learned():
    found = made(rows(20), rows(5, start=17))
    assert ids(found.material.train) == {f"r{i}" for i in range(17)}
    assert "3 of the examples are eval examples too" in found.notes[0]
    with pytest.raises(DataError, match="All examples are eval examples too"):
        made(rows(20), rows(20))


def test_without_a_share_nothing_is_looked_at():
    found = made(rows(5), eval_share=0)
    assert not found.material.evals
    assert not found.samples


def test_samples_are_prompts_of_the_eval_examples():
    found = made(rows(30), rows(9, start=100), samples=2)
    assert [s.prompt for s in found.samples] == ["100?", "101?"]
    assert found.samples[0].wanted == "no. 100"
    assert found.samples[0].ids == tuple(map(ord, "100?"))


def test_one_example_and_equal_ones_are_refused():
    for train in (rows(1), [(f"t{i}", rows(1)[0][1]) for i in range(40)]):
        with pytest.raises(DataError, match="only one example"):
            made(train)
    with pytest.raises(DataError, match="9 different examples are too few"):
        made(rows(9))
    made(rows(9), eval_share=0)


def test_long_examples_are_left_out_with_a_remark():
    long = [("long", {"question": "x" * 60, "answer": "y"})]
    found = made(rows(20) + long)
    assert "long" not in ids(found.material.train) | ids(found.material.evals)
    assert found.notes == ("left out, since longer than 50 tokens: 1 example (long)",)
    with pytest.raises(DataError, match="All examples are longer than 8 tokens"):
        made(rows(20, start=100000), max_length=8)


def test_the_first_faulty_rows_are_named():
    bad = [(f"bad{i}", {"question": "?", "answer": ""}) for i in range(8)]
    with pytest.raises(DataError) as caught:
        made(rows(20) + bad, eval_share=0)
    text = str(caught.value)
    assert text.startswith("8 rows cannot be learned from: row bad0: the answer is empty;")
    assert "and 3 more" in text
    assert "bad5" not in text
    assert "%data prepare" in text


def test_rows_of_the_eval_data_are_said_to_be_its():
    with pytest.raises(DataError, match="row r5 of the eval data: 'question' holds no text"):
        made(rows(20), [("r5", {"question": None, "answer": "x"})])
