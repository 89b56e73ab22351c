"""Labels by people: blind, kept at once, resumed; agreement; judges corrected only by what may correct them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from shells import Notebook

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation import Metric, Scored
from llmops_jupyter.evaluation.judges import tuned_on

ROWS = [
    {
        "id": f"r{n:02}",
        "question": f"q{n}",
        "a": f"answer {n}",
        "b": f"{'other' if n % 2 else 'answer'} {n}",
        "expected": str(n),
    }
    for n in range(30)
]


def probable(case):
    """A judge that is sure of some answers and less of others."""
    n = int(case.row["expected"])
    share = 0.5 + (n % 10) / 20
    return Scored(1.0, "yes", f"yes {share:.2f}, no {1 - share:.2f}")


judge = Metric("judge", each=probable, digest="judge", bounds=(0.0, 1.0), source="judge")


@pytest.fixture
def run(ws):
    return ws.evaluation.run("column=a", ROWS, judge)


def all_of(queue, decide):
    """Label everything; the inputs in the order in which they were shown."""
    seen = []
    while (shown := queue.current) is not None:
        seen.append(shown.input)
        queue.label(decide(shown))
    return seen


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


def test_agreement_of_annotators_and_of_a_judge_with_them(ws, run):
    rng = np.random.default_rng(0)
    all_of(
        ws.evaluation.label(run, name="ok", by="ann"),
        lambda s: "good" if int(s.expected) % 3 else "bad",
    )
    all_of(
        ws.evaluation.label(run, name="ok", by="bob"),
        lambda s: "good" if int(s.expected) % 3 and rng.random() < 0.9 else "bad",
    )
    made = ws.evaluation.agreement(run, "ok", "judge")
    assert made.answers == 30
    ((_, _, kappa),) = made.kappas
    assert 0.6 < kappa.value < 1
    assert made.alpha.value == pytest.approx(kappa.value, abs=0.05)
    assert made.judge[1].value == 0.0  # it always says yes
    assert len(made.disagreements) >= 1
    assert "ann and bob" in str(made)
    with pytest.raises(UnknownNameError, match="Did you mean 'ok'"):
        ws.evaluation.agreement(run, "okay")


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


# Correction of a judge.


def biased(ws, n=300):
    """A judge that is too kind, and what people would say."""
    rng = np.random.default_rng(4)
    truth = rng.random(n) < 0.5
    says = np.where(truth, rng.random(n) < 0.95, rng.random(n) < 0.3)
    rows = [
        {"id": str(i), "question": str(i), "a": f"a{i}", "truth": int(t), "says": int(s)}
        for i, (t, s) in enumerate(zip(truth, says, strict=True))
    ]
    kind = Metric(
        "kind", each=lambda c: bool(c.row["says"]), digest="kind", source="judge", bounds=(0, 1)
    )
    return ws.evaluation.run("column=a", rows, kind), truth.mean(), says.mean()


def test_a_kind_judge_is_corrected_by_random_labels(ws):
    run, truth, said = biased(ws)
    queue = ws.evaluation.label(run, name="ok", by="ann", limit=80)
    all_of(queue, lambda s: "good" if s.row["truth"] else "bad")
    made = ws.evaluation.corrected(run, "kind", "ok")
    assert said > truth + 0.08
    assert made.estimate.interval.low < truth < made.estimate.interval.high
    assert made.estimate.interval.width < made.result.labels_alone.interval.width
    assert made.used == 80
    assert made.chart()._repr_png_().startswith(b"\x89PNG")
    assert "people would give" in str(made)


def test_labels_of_uncertain_answers_and_of_calibration_do_not_correct(ws):
    run, _, _ = biased(ws)
    uncertain = ws.evaluation.label(run, name="ok", by="ann", order="uncertain", limit=30)
    all_of(uncertain, lambda _: "good")
    with pytest.raises(DataError, match=r"30 left out \(not drawn at random\)"):
        ws.evaluation.corrected(run, "kind", "ok")
    all_of(
        ws.evaluation.label(run, name="fine", by="ann", limit=30),
        lambda s: "good" if s.row["truth"] else "bad",
    )
    used = [label.output_id for label in ws.evaluation.labels(run, "fine")][:20]
    with ws.store.write() as conn:
        conn.execute(
            "INSERT INTO judge_calibrations(judge, model_digest, result, tuned_on, at) VALUES ('kind', 'm', '', ?, '')",
            (str(used),),
        )
    assert tuned_on(ws.store, "kind") == set(used)
    made = ws.evaluation.corrected(run, "kind", "fine")
    assert made.used == 10
    assert dict(made.left_out) == {"the judge was calibrated on it": 20}


def test_too_few_labels_say_how_many_there_are(ws):
    run, _, _ = biased(ws)
    all_of(ws.evaluation.label(run, name="ok", by="ann", limit=4), lambda _: "good")
    with pytest.raises(DataError, match="there are 4 and 296"):
        ws.evaluation.corrected(run, "kind", "ok")


def test_a_judge_is_calibrated_on_labels_which_then_do_not_correct_it(ws):
    from judge_fakes import JudgeEngine

    from llmops_jupyter.evaluation.judges import rubric

    right = {item.output: item.label == "yes" for item in rubric("relevance").check}

    def decide(parts):
        answer = parts["answer"]
        if answer in right:
            return 0.95 if right[answer] else 0.05
        if not answer[1:].isdigit():
            return 0.5
        return 0.97 if int(answer[1:]) % 2 else 0.7

    ws.engine.engine = lambda model=None: JudgeEngine(decide)
    rows = [{"question": str(n), "a": f"a{n}"} for n in range(80)]
    run = ws.evaluation.run("column=a", rows, "judge:relevance")
    assert run.value("judge:relevance") == 1.0
    queue = ws.evaluation.label(run, name="ok", by="ann", limit=60)
    all_of(queue, lambda s: "good" if int(s.outputs[0][1:]) % 2 else "bad")
    made = ws.evaluation.calibrate(run, "judge:relevance", "ok")
    assert made.kappa_after.value > 0.9 > made.kappa_before.value
    again = ws.evaluation.run("column=a", rows, made.judge.metric())
    assert again.value("judge:relevance (calibrated)") == pytest.approx(0.5)
    with pytest.raises(DataError, match="the judge was calibrated on it"):
        ws.evaluation.corrected(again, "judge:relevance (calibrated)", "ok")
    with pytest.raises(OptionError, match="is no judge"):
        ws.evaluation.calibrate(run, "exact", "ok")


# The magic and the terminal.


def test_the_magic_hands_out_the_queue(ws, run, capsys):
    notebook = Notebook(ws)
    try:
        notebook.run(f"%evaluate label {run.id} --name ok --labels yes,no --by ann -o queue")
        queue = notebook.names["queue"]
        assert list(queue.labels.items()) == [("yes", 1.0), ("no", 0.0)]
        all_of(queue, lambda s: "yes" if int(s.expected) % 2 else "no")
        notebook.run(f"%evaluate agreement {run.id} ok --judge judge")
        with pytest.raises(DataError, match="30 of the 30 answers that judge scored are labelled"):
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


# The widget.


@pytest.fixture
def widget(ws, run):
    pytest.importorskip("anywidget")
    from llmops_jupyter.panels.labelling import Labelling

    return Labelling(ws.evaluation.label(run, name="ok", by="ann", limit=3))


def decide(widget, **content):
    widget._received(widget, {"number": widget.task["number"], **content}, [])


def test_the_widget_shows_a_task_and_takes_decisions(ws, run, widget):
    assert widget.labels == ["good", "bad"]
    assert widget.task["total"] == 3
    decide(widget, action="label", label="good", note="why not")
    decide(widget, action="skip")
    decide(widget, action="undo")
    decide(widget, action="undo")
    assert widget.task["done"] == 0
    for _ in range(3):
        decide(widget, action="label", label="bad")
    assert widget.task["over"]
    assert len(ws.evaluation.labels(run, "ok")) == 3


def test_a_decision_about_an_answer_that_is_gone_is_not_taken(ws, run, widget):
    number = widget.task["number"]
    decide(widget, action="label", label="good")
    widget._received(widget, {"action": "label", "label": "bad", "number": number}, [])
    assert "nothing was kept" in widget.task["said"]
    assert [k.label for k in ws.evaluation.labels(run, "ok")] == ["good"]
    decide(widget, action="label", label="nonsense")
    assert "no label" in widget.task["said"]


def test_a_saved_notebook_says_how_far_it_is(widget):
    decide(widget, action="label", label="good")
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"].startswith("1 of 3 answers labelled as 'ok' by ann")
    assert "Run the cell again" in data["text/html"]


def test_the_widget_s_script_sets_no_markup():
    from pathlib import Path

    import llmops_jupyter.panels as panels

    code = (Path(panels.__file__).parent / "labelling.js").read_text()
    assert "innerHTML" not in code
    assert "textContent" in code
