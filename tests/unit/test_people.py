"""Agreement of people and judges; a judge corrected only by labels that may correct it."""

from __future__ import annotations

import numpy as np
import pytest
from annotators import ROWS, all_of, judge

from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation import Metric, Scored
from llmops_jupyter.evaluation.judges import tuned_on
from llmops_jupyter.evaluation.labelled import majority


@pytest.fixture
def run(ws):
    return ws.evaluation.run("column=a", ROWS, judge)


# Agreement.


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


def test_grades_agree_as_grades(ws):
    def grade(case):
        return float(1 + int(case.row["expected"]) % 5)

    metric = Metric("grade", each=grade, digest="grade", bounds=(1.0, 5.0), source="judge")
    run = ws.evaluation.run("column=a", ROWS, metric)
    for by, more in (("ann", 1), ("bob", 2)):
        all_of(
            ws.evaluation.label(run, name="g", by=by, labels=range(1, 6)),
            lambda s, more=more: str(min(5, more + int(s.expected) % 5)),
        )
    made = ws.evaluation.agreement(run, "g", "grade")
    assert made.level == "ordinal"
    assert made.alpha.value > 0.7 > made.kappas[0][2].value
    assert "ordinal α" in str(made)
    all_of(
        ws.evaluation.label(run, name="h", by="ann", labels=range(1, 6)),
        lambda s: str(1 + int(s.expected) % 5),
    )
    assert ws.evaluation.agreement(run, "h", "grade").judge[1].value == 1.0


def test_a_judge_on_another_scale_is_stretched(ws):
    share = Metric(
        "share", each=lambda c: int(c.row["expected"]) % 5 / 4, digest="s", bounds=(0.0, 1.0)
    )
    run = ws.evaluation.run("column=a", ROWS, share)
    queue = ws.evaluation.label(run, name="g", by="ann", labels=range(1, 6), limit=20)
    all_of(queue, lambda s: str(1 + int(s.expected) % 5))
    made = ws.evaluation.agreement(run, "g", "share")
    assert made.judge[1].value == made.judge_alpha.value == 1.0
    corrected = ws.evaluation.corrected(run, "share", "g")
    assert 2 < corrected.estimate.value < 4
    assert "another scale" in str(corrected)
    assert "judge alone" not in str(corrected)


def test_answers_on_which_people_differ_most_come_first(ws, run):
    said = {"ann": "good", "bob": "bad", "cem": "good", "dea": "good"}
    for by, word in said.items():
        queue = ws.evaluation.label(run, name="ok", by=by, limit=3)
        first = queue.current.row["id"]
        queue.label(word if by != "cem" else "bad")
        all_of(queue, lambda _, word=word: word)
    made = ws.evaluation.agreement(run, "ok")
    assert made.disagreements[0] == {
        "row": first,
        "ann": "good",
        "bob": "bad",
        "cem": "bad",
        "dea": "good",
    }
    assert made.rates_by["bob"] == {"bad": 1.0}
    assert "they differ on 3 answers:" in str(made)


def test_a_majority_needs_more_than_a_tie(ws, run):
    for by, word in (("ann", "good"), ("bob", "bad")):
        all_of(ws.evaluation.label(run, name="ok", by=by, limit=2), lambda _, word=word: word)
    found = ws.evaluation.labels(run, "ok")
    assert majority(found[:2]) is None
    assert majority(found[:1]) == ("good", 1.0)
    with pytest.raises(DataError, match="no score of an answer that people agree on"):
        ws.evaluation.agreement(run, "ok", "judge")


def test_markup_in_names_and_rows_is_escaped(ws):
    rows = [{"id": "<b>x", "question": "q", "a": "<i>a"}]
    run = ws.evaluation.run("column=a", rows, Metric("<u>j", each=lambda _: 1.0, digest="j"))
    for by, word in (("<s>ann", "good"), ("bob", "bad")):
        all_of(ws.evaluation.label(run, name="<p>ok", by=by), lambda _, word=word: word)
    shown = ws.evaluation.agreement(run, "<p>ok")._repr_mimebundle_()["text/html"]
    for hostile in ("<b>x", "<s>ann", "<p>ok"):
        assert hostile not in shown


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


def test_uncertain_labels_before_random_ones_do_not_bias_a_correction(ws):
    rng = np.random.default_rng(1)
    sure = rng.random(200)
    truth = rng.random(200) < np.where(np.abs(sure - 0.5) < 0.25, 0.9, 0.1)
    rows = [
        {"id": str(i), "question": str(i), "a": f"a{i}", "sure": s, "truth": int(t)}
        for i, (s, t) in enumerate(zip(sure, truth, strict=True))
    ]
    metric = Metric(
        "judge", each=lambda c: c.row["sure"], digest="j", bounds=(0, 1), source="judge"
    )
    run = ws.evaluation.run("column=a", rows, metric)
    for order, most in (("uncertain", 90), ("random", 30)):
        queue = ws.evaluation.label(run, name="ok", by="ann", order=order)
        for _ in range(most):
            queue.label("good" if queue.current.row["truth"] else "bad")
    made = ws.evaluation.corrected(run, "judge", "ok")
    assert made.used > 40  # those that the random order came past count as well
    assert made.estimate.interval.low < truth.mean() < made.estimate.interval.high


def test_a_jump_in_the_random_order_makes_no_uncertain_label_random(ws):
    run, _, _ = biased(ws)
    all_of(
        ws.evaluation.label(run, name="ok", by="ann", order="uncertain", limit=150), lambda _: "bad"
    )
    queue = ws.evaluation.label(run, name="ok", by="ann")
    first = queue.current.number
    queue.go(300)
    queue.label("good")
    drawn = [label.drawn for label in ws.evaluation.labels(run, "ok")]
    assert drawn.count("random") <= first


def test_labelling_anew_takes_nothing_out_of_the_random_draw(ws):
    run, _, _ = biased(ws)
    all_of(ws.evaluation.label(run, name="ok", by="ann", limit=20), lambda _: "bad")
    queue = ws.evaluation.label(run, name="ok", by="ann", order="uncertain")
    for number in range(1, queue.total + 1):
        queue.go(number)
        queue.label("good")
    drawn = [label.drawn for label in ws.evaluation.labels(run, "ok")]
    assert drawn.count("random") == 20


def test_the_opposite_of_a_calibrated_judge_was_calibrated_too(ws):
    run, _, _ = biased(ws)
    kind = Metric("kind", each=lambda c: bool(c.row["says"]), digest="kind", bounds=(0, 1))
    run = ws.evaluation.run(
        "column=a", [dict(i.case.row) | {"id": i.case.row_id} for i in run.items], ~kind
    )
    all_of(ws.evaluation.label(run, name="fine", by="ann", limit=30), lambda _: "good")
    used = [label.output_id for label in ws.evaluation.labels(run, "fine")][:10]
    with ws.store.write() as conn:
        conn.execute(
            "INSERT INTO judge_calibrations(judge, model_digest, result, tuned_on, at) VALUES ('kind', 'm', '', ?, '')",
            (str(used),),
        )
    made = ws.evaluation.corrected(run, "not-kind", "fine")
    assert made.used == 20
    assert "10 of the run's answers are not spoken of" in str(made)


def test_perfect_agreement_is_not_certain(ws, run):
    for by in ("ann", "bob"):
        all_of(
            ws.evaluation.label(run, name="ok", by=by),
            lambda s: "good" if int(s.expected) % 2 else "bad",
        )
    made = ws.evaluation.agreement(run, "ok")
    assert made.alpha.value == made.kappas[0][2].value == 1.0
    assert made.alpha.interval.low == made.kappas[0][2].interval.low < 0.8


def test_answers_on_which_the_judge_abstains_are_spoken_of_too(ws):
    rng = np.random.default_rng(7)
    truth = rng.random(300) < 0.6
    rows = [
        {"id": str(i), "question": str(i), "a": f"a{i}", "truth": int(t)}
        for i, t in enumerate(truth)
    ]

    def kind(case):
        return 1.0 if case.row["truth"] else Scored(None, "abstains")

    metric = Metric("kind", each=kind, digest="k", source="judge", bounds=(0, 1))
    run = ws.evaluation.run("column=a", rows, metric)
    all_of(
        ws.evaluation.label(run, name="ok", by="ann", limit=80),
        lambda s: "good" if s.row["truth"] else "bad",
    )
    made = ws.evaluation.corrected(run, "kind", "ok")
    assert made.estimate.interval.low <= truth.mean() <= made.estimate.interval.high
    assert made.used == 80
    assert any("does not decide" in note for note in made.notes)


def test_labels_drawn_from_other_rows_do_not_correct(ws):
    run, _, _ = biased(ws)
    rows = [dict(item.case.row) for item in run.items]
    small = ws.evaluation.run("column=a", rows[:20])
    all_of(ws.evaluation.label(small, name="ok", by="ann"), lambda _: "good")
    with pytest.raises(
        DataError, match=r"20 left out \(drawn at random among the answers to other"
    ):
        ws.evaluation.corrected(run, "kind", "ok")
    # As soon as the random order of all answers has come past them, they count.
    all_of(ws.evaluation.label(run, name="ok", by="ann", limit=60), lambda _: "good")
    made = ws.evaluation.corrected(run, "kind", "ok")
    assert made.used >= 60
    kept = ws.evaluation.labels(small, "ok")
    assert {label.drawn for label in kept} == {"random"}


def two(ws):
    """Runs of which the second has half of the first one's answers."""
    return ws.evaluation.run("column=a", ROWS), ws.evaluation.run("column=b", ROWS)


def test_labels_of_pairs_come_before_those_of_answers_and_hold_either_way_round(ws):
    a, b = two(ws)
    all_of(ws.evaluation.label(a, name="ok", by="ann"), lambda _: "bad")
    with pytest.raises(DataError, match="are only of answers that run"):
        ws.evaluation.compare(a, b, metric="human:ok")
    queue = ws.evaluation.label((b, a), name="ok", by="ann")
    all_of(queue, lambda s: "left" if s.outputs[0].startswith("other") else "right")
    made = ws.evaluation.compare(a, b, metric="human:ok")
    back = ws.evaluation.compare(b, a, metric="human:ok")
    assert made.n == back.n == 15
    assert (made.difference, back.difference) == (1.0, -1.0)
