"""Labels by people: blind, kept at once, resumed; agreement; judges corrected only by what may correct them."""

from __future__ import annotations

import io

import pytest
from annotators import ROWS, all_of, judge
from shells import Notebook

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation import Metric, Scored
from llmops_jupyter.evaluation.labels import keys_of


@pytest.fixture
def run(ws):
    return ws.evaluation.run("column=a", ROWS, judge)


def test_each_label_is_kept_at_once_and_a_new_queue_goes_on(ws, run, own_home):
    queue = ws.evaluation.label(run, name="correct", by="ann")
    for _ in range(7):
        queue.label("good", note="fine")
    with lo.open() as other:
        again = other.evaluation.label(run.id, name="correct", by="ann")
        assert (again.done, again.remaining) == (7, 23)
        assert again.current.input == queue.current.input
        kept = other.evaluation.labels(run.id, "correct")
        assert [(k.label, k.value, k.by, k.note, k.drawn) for k in kept] == [
            ("good", 1.0, "ann", "fine", "random")
        ] * 7


def test_the_order_is_shuffled_and_the_same_for_all(ws, run):
    one = all_of(ws.evaluation.label(run, name="n", by="ann"), lambda _: "good")
    two = all_of(ws.evaluation.label(run, name="n", by="bob"), lambda _: "bad")
    assert one == two
    assert one != sorted(one)
    other = all_of(ws.evaluation.label(run, name="n", by="cem", seed=1), lambda _: "good")
    assert other != one


def test_what_is_shown_tells_nothing_of_variants_models_judges_or_others(ws, run):
    all_of(ws.evaluation.label(run, name="n", by="ann"), lambda _: "bad")
    shown = ws.evaluation.label(run, name="n", by="bob").current
    text = repr(shown)
    assert "column=a" not in text
    assert "yes 0" not in text
    assert "bad" not in text
    assert shown.given == ""


def test_uncertain_answers_come_first(ws, run):
    queue = ws.evaluation.label(run, name="n", by="ann", order="uncertain", limit=3)
    seen = all_of(queue, lambda _: "good")
    assert {int(text[1:]) % 10 for text in seen} == {0}
    assert {k.drawn for k in ws.evaluation.labels(run, "n")} == {"uncertain"}


def test_skipped_answers_come_again_and_undo_takes_back(ws, run):
    queue = ws.evaluation.label(run, name="n", by="ann", limit=3)
    first = queue.current.input
    queue.skip()
    assert queue.current.input != first
    queue.label("bad")
    assert queue.done == 1
    queue.undo()
    assert queue.done == 0
    assert ws.evaluation.label(run, name="n", by="ann").done == 0
    all_of(queue, lambda _: "good")
    assert queue.current is None
    with pytest.raises(OptionError, match="Everything is labelled"):
        queue.label("good")
    queue.go(2)
    assert queue.current.given == "good"
    queue.label("bad")
    assert queue.done == 3
    assert sorted(k.label for k in ws.evaluation.labels(run, "n")) == ["bad", "good", "good"]


def test_the_last_answer_can_be_skipped_and_is_still_there(ws, run):
    queue = ws.evaluation.label(run, name="n", by="ann", limit=1)
    queue.skip()
    assert queue.current is not None
    with pytest.raises(OptionError, match="tasks 1 to 1"):
        queue.go(2)


def test_pairs_are_shown_with_shuffled_sides_and_kept_by_run(ws, run):
    other = ws.evaluation.run("column=b", ROWS, judge)
    queue = ws.evaluation.label((run, other), name="preference", by="ann")
    assert queue.total == 15  # equal answers are no choice
    sides = []

    def other_wins(shown):
        side = next(i for i, text in enumerate(shown.outputs) if text.startswith("other"))
        sides.append(side)
        return ("left", "right")[side]

    all_of(queue, other_wins)
    assert set(sides) == {0, 1}
    made = ws.evaluation.compare(run, other, metric="human:preference")
    assert made.metric == "human:preference"
    assert made.n == 15
    assert made.a_value == 0.0
    assert made.b_value == 1.0
    assert made.verdict == "better"


def test_ties_and_given_labels_of_pairs(ws, run):
    other = ws.evaluation.run("column=b", ROWS, judge)
    queue = ws.evaluation.label((run, other), name="p", by="ann", limit=4)
    for label in ("tie", "left", "right", "left"):
        queue.label(label)
    for number, label in enumerate(("tie", "left", "right", "left"), 1):
        queue.go(number)
        assert queue.current.given == label


def test_people_s_labels_are_a_metric_of_two_runs(ws, run):
    other = ws.evaluation.run("column=b", ROWS, judge)
    all_of(ws.evaluation.label(run, name="ok", by="ann"), lambda _: "bad")
    all_of(
        ws.evaluation.label(other, name="ok", by="ann"),
        lambda s: "good" if s.outputs[0].startswith("other") else "bad",
    )
    made = ws.evaluation.compare(run, other, metric="human:ok")
    # The rows with equal answers share one label, since they share one answer.
    assert made.verdict == "better"
    with pytest.raises(DataError, match="There are no labels 'nope'"):
        ws.evaluation.compare(run, other, metric="human:nope")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": "sorted"}, "order is one of"),
        ({"labels": ["one"]}, "two labels or more"),
        ({"limit": 0}, "limit is a number"),
        ({"name": ""}, "need a name"),
    ],
)
def test_options_that_make_no_sense(ws, run, options, says):
    with pytest.raises(OptionError, match=says):
        ws.evaluation.label(run, **{"name": "n", "by": "ann", **options})


def test_labels_may_be_grades_or_have_values(ws, run):
    graded = ws.evaluation.label(run, name="g", by="ann", labels=["1", "2", "3"])
    graded.label("3")
    assert ws.evaluation.labels(run, "g")[0].value == 3.0
    named = ws.evaluation.label(run, name="v", by="ann", labels={"great": 1, "fine": 0.5, "bad": 0})
    named.label("fine")
    assert ws.evaluation.labels(run, "v")[0].value == 0.5
    with pytest.raises(OptionError, match="Did you mean 'great'"):
        named.label("grea")


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (("good", "bad"), {"1": "good", "2": "bad", "g": "good", "b": "bad"}),
        (("yes", "no"), {"1": "yes", "2": "no", "y": "yes", "o": "no"}),  # n is for notes
        (("2", "1", "0"), {"2": "2", "1": "1", "0": "0"}),
        (("0", "0.5", "1"), {"0": "0", "1": "1", "a": "0.5"}),
        (("b", "a"), {"b": "b", "a": "a", "1": "b", "2": "a"}),
    ],
)
def test_each_label_has_keys(labels, keys):
    assert keys_of(labels) == keys


@pytest.mark.parametrize(
    "labels", [("a", "b", "a"), ("a", " "), {"a": float("nan"), "b": 1}, {"a": "x", "b": 1}, {}]
)
def test_labels_that_make_no_sense(ws, run, labels):
    with pytest.raises(OptionError, match="abel"):
        ws.evaluation.label(run, name="n", by="ann", labels=labels)


def test_undo_brings_the_earlier_label_back(ws, run):
    queue = ws.evaluation.label(run, name="n", by="ann", limit=2)
    queue.label("good", note="first")
    queue.go(1)
    assert (queue.current.given, queue.current.note) == ("good", "first")
    queue.label("bad")
    queue.undo()
    (kept,) = ws.evaluation.labels(run, "n")
    assert (kept.label, kept.note) == ("good", "first")
    queue.skip()
    queue.undo()
    assert len(ws.evaluation.labels(run, "n")) == 1
    queue.undo()
    assert ws.evaluation.labels(run, "n") == []
    with pytest.raises(OptionError, match="nothing to take back"):
        queue.undo()


def test_notes_are_redacted_like_traces(own_home):
    with lo.open(redact="pii") as ws:
        run = ws.evaluation.run("column=a", ROWS, judge)
        ws.evaluation.label(run, name="n", by="ann").label("bad", note="ask ann@example.org")
        assert "example.org" not in ws.evaluation.labels(run, "n")[0].note


def test_a_pair_s_row_does_not_tell_which_answer_is_whose(ws, run):
    other = ws.evaluation.run("column=b", ROWS, judge)
    shown = ws.evaluation.label((run, other), name="p", by="ann").current
    assert set(shown.row) == {"id", "question", "expected"}


def test_labels_of_pairs_are_read_by_run_and_agreed_upon(ws, run):
    other = ws.evaluation.run("column=b", ROWS, judge)
    for by in ("ann", "bob"):
        all_of(
            ws.evaluation.label((run, other), name="p", by=by),
            lambda s: "left" if s.outputs[0].startswith("other") else "right",
        )
    kept = ws.evaluation.labels((run, other), "p")
    assert {(label.label, label.value) for label in kept} == {("second", 1.0)}
    assert ws.evaluation.agreement((run, other), "p").rates == {"second": 1.0}
    with pytest.raises(OptionError, match="left, right and tie"):
        ws.evaluation.label((run, other), name="p", by="ann", labels=("a", "b"))


def test_annotators_share_some_answers_and_have_others_of_their_own(ws, run):
    seen = {
        by: all_of(
            ws.evaluation.label(run, name="n", by=by, limit=10, overlap=0.4), lambda _: "good"
        )
        for by in ("ann", "bob")
    }
    assert seen["ann"][:4] == seen["bob"][:4]
    assert seen["ann"][4:] != seen["bob"][4:]
    with pytest.raises(OptionError, match="overlap goes with order='random'"):
        ws.evaluation.label(run, name="n", by="ann", order="uncertain", overlap=0.5)
    with pytest.raises(OptionError, match="a share from 0 to 1"):
        ws.evaluation.label(run, name="n", by="ann", overlap=3)


def test_uncertain_means_near_the_middle_of_grades_and_where_metrics_disagree(ws):
    grade = Metric(
        "grade", each=lambda c: 1.0 + int(c.row["expected"]) % 5, digest="g", bounds=(1.0, 5.0)
    )
    run = ws.evaluation.run("column=a", ROWS, grade)
    queue = ws.evaluation.label(run, name="n", by="ann", order="uncertain", limit=6)
    assert {int(text[1:]) % 5 for text in all_of(queue, lambda _: "good")} == {2}
    opposite = Metric(
        "not-grade",
        # What code says of itself is no probability.
        each=lambda c: (
            Scored(0.0, explanation="expected 1, found 2")
            if c.row["expected"] == "4"
            else Scored(float(int(c.row["expected"]) % 5 > 2))
        ),
        digest="o",
        bounds=(0.0, 1.0),
    )
    both = ws.evaluation.run("column=a", ROWS, [grade, opposite])
    queue = ws.evaluation.label(both, name="m", by="ann", order="uncertain")
    assert queue.current.input == "q4"


def test_uncertain_pairs_are_those_whose_scores_differ_least(ws):
    near = Metric(
        "near",
        each=lambda c: 0.5 if c.output.startswith("answer") else int(c.row["expected"]) / 30,
        digest="near",
        bounds=(0.0, 1.0),
    )
    a, b = (ws.evaluation.run(f"column={name}", ROWS, near) for name in "ab")
    queue = ws.evaluation.label((a, b), name="p", by="ann", order="uncertain")
    assert queue.current.input == "q15"


def test_without_a_metric_nothing_is_uncertain(ws):
    run = ws.evaluation.run("column=a", ROWS)
    with pytest.raises(OptionError, match="order='random'"):
        ws.evaluation.label(run, name="n", by="ann", order="uncertain")


def test_a_comparison_by_uncertain_labels_says_so(ws, run):
    other = ws.evaluation.run("column=b", ROWS, judge)
    queue = ws.evaluation.label((run, other), name="p", by="ann", order="uncertain")
    all_of(queue, lambda _: "left")
    made = ws.evaluation.compare(run, other, metric="human:p")
    assert "15 of 15 labels 'p' are of answers that were picked as uncertain" in str(made)


# The magic and the terminal.


def test_the_magic_hands_out_the_queue(ws, run, capsys):
    notebook = Notebook(ws)
    try:
        notebook.run(f"%evaluate label {run.id} --name ok --labels yes,no --by ann -o queue")
        queue = notebook.names["queue"]
        assert list(queue.labels.items()) == [("yes", 1.0), ("no", 0.0)]
        all_of(queue, lambda s: "yes" if int(s.expected) % 2 else "no")
        notebook.run(f"%evaluate agreement {run.id} ok --judge judge")
        with pytest.raises(DataError, match="30 of the 30 answers are labelled"):
            notebook.run(f"%evaluate correct {run.id} judge ok")
        assert "0 of 30 answers labelled as 'ok' by ann" in capsys.readouterr().out
        with pytest.raises(OptionError, match="one run, or pairs"):
            notebook.run("%evaluate label 1 2 3")
    finally:
        notebook.close()


def test_the_terminal_asks_and_keeps_what_was_said(ws, run, monkeypatch, capsys):
    from llmops_jupyter.cli.program import run as llmops

    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\ns\nnonsense\nu\n2\nq\n"))
    assert llmops(["evaluate", "label", str(run.id), "--name", "ok", "--by", "ann"]) == 0
    shown = capsys.readouterr()
    assert "3 of 30 answers labelled" in shown.out or "2 of 30 answers labelled" in shown.out
    assert "There is no label 'nonsense'" in shown.err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert llmops(["evaluate", "label", str(run.id), "--name", "ok", "--by", "ann"]) == 0


def test_control_characters_do_not_reach_the_terminal(ws, monkeypatch, capsys):
    from llmops_jupyter.cli.program import run as llmops

    made = ws.evaluation.run("column=a", [{"a": "\x1b[2Jgone\x07", "question": "q"}])
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    llmops(["evaluate", "label", str(made.id), "--by", "ann"])
    assert "\x1b[2J" not in capsys.readouterr().err


def test_a_note_may_follow_a_key_and_labels_that_are_numbers_are_their_own_keys(
    ws, run, monkeypatch
):
    from llmops_jupyter.cli.program import run as llmops

    monkeypatch.setattr("sys.stdin", io.StringIO("1 too short\n0\n"))
    line = ["evaluate", "label", str(run.id), "--name", "g", "--by", "ann", "--labels", "0,1,2"]
    assert llmops(line) == 0
    kept = {label.label: label for label in ws.evaluation.labels(run, "g")}
    assert {name: label.value for name, label in kept.items()} == {"1": 1.0, "0": 0.0}
    assert kept["1"].note == "too short"
