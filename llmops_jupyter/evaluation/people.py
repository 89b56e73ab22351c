"""What people's labels say: how far they agree, a judge corrected by them, and labels as a metric."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError, OptionError, unknown_name
from llmops_jupyter.evaluation import labels as people
from llmops_jupyter.evaluation.judges import Calibration, Judge, calibrate, tuned_on
from llmops_jupyter.evaluation.labels import Label
from llmops_jupyter.evaluation.metrics.metric import Engines, Metric, Scored
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import ScoredMetric
from llmops_jupyter.evaluation.statistics import (
    Corrected,
    Estimate,
    cohens_kappa,
    corrected_mean,
    krippendorffs_alpha,
)
from llmops_jupyter.evaluation.statistics.corrected import LEAST
from llmops_jupyter.store import Store


@dataclass(frozen=True)
class Agreement:
    """How far annotators, and a judge, agree beyond chance.

    Args:
        name: of the labels.
        answers: that have labels.
        alpha: Krippendorff's, of all annotators; None with one.
        kappas: Cohen's, of each two annotators on the answers that both labelled.
        rates: how often each label was given.
        judge: κ of the judge and the majority of people; None without a judge.
        disagreements: answers on which annotators differ, with what each said.
    """

    name: str
    answers: int
    alpha: Estimate | None
    kappas: tuple[tuple[str, str, Estimate], ...]
    rates: Mapping[str, float]
    judge: tuple[str, Estimate] | None
    disagreements: tuple[dict[str, Any], ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each two that are compared."""
        found = []
        if self.alpha is not None:
            found.append(_row("all annotators (α)", self.alpha))
        found += [_row(f"{a} and {b} (κ)", k) for a, b, k in self.kappas]
        if self.judge is not None:
            found.append(_row(f"{self.judge[0]} and people (κ)", self.judge[1]))
        return found

    def title(self) -> str:
        """The labels on one line."""
        shown = ", ".join(f"{label} {share:.0%}" for label, share in self.rates.items())
        return f"{self.name}: {self.answers} answers labelled ({shown})"

    def __str__(self) -> str:
        parts = [self.title()]
        if self.rows():
            parts.append(render.text_table(self.rows()))
        if self.disagreements:
            parts += ["they differ on:", render.text_table(self.disagreements)]
        return "\n".join(parts)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [f"<p>{html.escape(self.title())}</p>"]
        if self.rows():
            blocks.append(render.table_html(self.rows()))
        if self.disagreements:
            blocks.append(f"<p>they differ on:</p>{render.table_html(self.disagreements)}")
        return {"text/html": "".join(blocks), "text/plain": str(self)}


@dataclass(frozen=True)
class CorrectedRun:
    """A judge's mean over a run, corrected by people's labels.

    Args:
        judge: the metric's name.
        labels: the labels' name.
        result: the corrected mean beside its parts.
        used: labels that it rests on.
        left_out: labels that may not be used, with the reasons and how often each.
    """

    judge: str
    labels: str
    result: Corrected
    used: int
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def estimate(self) -> Estimate:
        """The corrected mean."""
        return self.result.estimate

    def rows(self) -> list[dict[str, Any]]:
        """The corrected mean beside the judge's and the labels' own."""
        named = (
            ("judge alone, which may be biased", self.result.judge_alone),
            (f"{self.used} labels alone", self.result.labels_alone),
            ("judge corrected by labels", self.result.estimate),
        )
        return [
            {
                "": name,
                "value": f"{e.value:.3f}",
                "95 % interval": f"{e.interval.low:.3f} to {e.interval.high:.3f}",
            }
            for name, e in named
        ]

    def sentence(self) -> str:
        """What people would say, on one line."""
        e = self.result.estimate
        return (
            f"people would give {e.value:.3f} ({e.interval.low:.3f} to {e.interval.high:.3f}): {self.judge} is "
            f"{self.result.bias:+.3f} off, and counts {self.result.weight:.0%}"
        )

    def __str__(self) -> str:
        notes = [f"{n} labels left out: {why}" for why, n in self.left_out]
        return "\n".join([self.sentence(), render.text_table(self.rows()), *notes])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        notes = "".join(
            f"<p><em>{n} labels left out: {html.escape(why)}</em></p>" for why, n in self.left_out
        )
        shown = f"<p>{html.escape(self.sentence())}</p>{render.table_html(self.rows())}{notes}"
        return {"text/html": shown, "text/plain": str(self)}

    def chart(self) -> Any:
        """The three intervals one under the other."""
        from llmops_jupyter.evaluation.charts import Intervals

        named = {
            "judge alone": self.result.judge_alone,
            f"{self.used} labels alone": self.result.labels_alone,
            "corrected": self.result.estimate,
        }
        return Intervals(named, f"mean of {self.judge} by {self.labels}")


def agreement(store: Store, run: EvaluationRun, name: str, judge: str | None = None) -> Agreement:
    """How far the annotators of a run's answers agree, and a judge with them.

    Raises:
        DataError: there are no labels of this name.
        UnknownNameError: the run has no such judge.
    """
    found = _labels(store, run, name)
    by_item: dict[str, list[Label]] = {}
    ratings: dict[str, dict[str, str]] = {}
    for label in found:
        key = f"{label.position}\0{label.repetition}"
        by_item.setdefault(key, []).append(label)
        ratings.setdefault(label.by, {})[key] = label.label
    kappas = []
    for a, b in combinations(sorted(ratings), 2):
        shared = [k for k in ratings[a] if k in ratings[b]]
        if shared:
            kappas.append(
                (
                    a,
                    b,
                    cohens_kappa([ratings[a][k] for k in shared], [ratings[b][k] for k in shared]),
                )
            )
    alpha = krippendorffs_alpha(ratings) if kappas else None
    counts: dict[str, int] = {}
    for label in found:
        counts[label.label] = counts.get(label.label, 0) + 1
    rates = {label: n / len(found) for label, n in sorted(counts.items())}
    differ = [
        {"row": ls[0].row_id, **{label.by: label.label for label in ls}}
        for ls in by_item.values()
        if len({label.label for label in ls}) > 1
    ]
    return Agreement(
        name,
        len(by_item),
        alpha,
        tuple(kappas),
        rates,
        _judge_agreement(run, by_item, judge) if judge else None,
        tuple(differ),
    )


def corrected(
    store: Store, run: EvaluationRun, judge: str, name: str, *, confidence: float = 0.95
) -> CorrectedRun:
    """The mean that people would give to all of a run's answers, from a judge's scores and some labels.

    Only labels of answers that were drawn at random count, and none on which the judge was calibrated.

    Raises:
        DataError: fewer than ten labels may be used, or the judge decided nothing.
    """
    metric = run.metric(judge)
    if run.repeats > 1:
        raise DataError("Runs with several answers a row cannot be corrected. Run it with one.")
    tuned = tuned_on(store, judge)
    by_place: dict[int, list[Label]] = {}
    reasons: dict[str, int] = {}
    for label in _labels(store, run, name):
        if label.drawn != "random":
            why = "not drawn at random"
        elif label.output_id in tuned:
            why = "the judge was calibrated on it"
        elif metric.scores[label.position].value is None:
            why = "the judge abstains"
        else:
            by_place.setdefault(label.position, []).append(label)
            continue
        reasons[why] = reasons.get(why, 0) + 1
    human, judged = [], []
    for place, found in by_place.items():
        human.append(sum(label.value for label in found) / len(found))
        judged.append(metric.scores[place].value or 0.0)
    others = [
        s.value for i, s in enumerate(metric.scores) if s.value is not None and i not in by_place
    ]
    if len(human) < LEAST or len(others) < 2:
        said = "".join(f"; {n} left out ({why})" for why, n in reasons.items())
        raise DataError(
            f"A correction needs {LEAST} labels of answers in random order and other answers that the judge "
            f"scored; there are {len(human)} and {len(others)}{said}. Label more with order='random'."
        )
    result = corrected_mean(human, judged, others, confidence=confidence)
    return CorrectedRun(judge, name, result, len(human), tuple(sorted(reasons.items())))


def calibrate_judge(
    store: Store, run: EvaluationRun, metric: Metric, name: str, engines: Engines
) -> Calibration:
    """A judge calibrated on people's labels of a run's answers.

    Raises:
        OptionError: the metric is no judge that says yes or no.
        DataError: there are too few labels.
    """
    judge = metric.facts.get("judge")
    if not isinstance(judge, Judge) or not judge.rubric.is_yes_no:
        raise OptionError(
            f"{metric.name} is no judge that says yes or no. Write for instance judge:relevance"
        )
    by_output: dict[int, list[Label]] = {}
    for label in _labels(store, run, name):
        by_output.setdefault(label.output_id, []).append(label)
    cases = {item.output_id: item.case for item in run.items}
    words = {value: label for label, value in judge.rubric.labels}
    chosen, said = [], []
    for output_id, found in by_output.items():
        most = people.majority(found)
        if most is not None:
            chosen.append(output_id)
            said.append(words[1.0 if most[1] >= 0.5 else 0.0])
    return calibrate(
        judge,
        [cases[i] for i in chosen],
        said,
        engines.engine(judge.model),
        output_ids=chosen,
        store=store,
    )


def with_labels(store: Store, run: EvaluationRun, name: str) -> EvaluationRun:
    """The run with people's labels as a metric ``human:NAME``; answers without one have no score."""
    by_place: dict[tuple[int, int], list[Label]] = {}
    for label in _labels(store, run, name):
        by_place.setdefault((label.position, label.repetition), []).append(label)
    scores = []
    for item in run.items:
        found = by_place.get((item.position, item.repetition), [])
        value = sum(label.value for label in found) / len(found) if found else None
        scores.append(Scored(value, "not labelled" if value is None else found[0].label))
    values = [label.value for found in by_place.values() for label in found]
    return _with(run, name, scores, (min(0.0, *values), max(1.0, *values)))


def with_preferences(
    store: Store, a: EvaluationRun, b: EvaluationRun, name: str
) -> tuple[EvaluationRun, EvaluationRun]:
    """Both runs with people's preferences as a metric: 1 for the better answer, 0.5 for a tie.

    Raises:
        DataError: there are none of this name.
    """
    found = people.preferences(store, a, b, name)
    if not found:
        raise DataError(
            f"There are no labels {name!r} of these runs, nor of their pairs. Label them: %evaluate label "
            f"{a.id} {b.id} --name {name}"
        )
    second = []
    for item in b.items:
        values = found.get((item.position, item.repetition), {})
        mean = sum(values.values()) / len(values) if values else None
        second.append(Scored(None, "not labelled") if mean is None else Scored((1 + mean) / 2))
    by_row = {
        (i.case.row_id, i.row_hash, i.repetition): s for i, s in zip(b.items, second, strict=True)
    }
    first = []
    for item in a.items:
        other = by_row.get((item.case.row_id, item.row_hash, item.repetition))
        known = other is not None and other.value is not None
        first.append(
            Scored(1 - other.value)
            if known and other is not None and other.value is not None
            else Scored(None, "not labelled")
        )
    return _with(a, name, first, (0.0, 1.0)), _with(b, name, second, (0.0, 1.0))


def _with(
    run: EvaluationRun, name: str, scores: Sequence[Scored], bounds: tuple[float, float]
) -> EvaluationRun:
    metric = ScoredMetric(
        f"human:{name}", people.names_digest(name), tuple(scores), bounds=bounds, source="human"
    )
    return replace(run, metrics={**run.metrics, metric.name: metric})


def _labels(store: Store, run: EvaluationRun, name: str) -> list[Label]:
    found = people.given(store, run, name)
    if not found:
        known = people.known_names(store)
        if name in known:
            raise DataError(
                f"No answer of run {run.id} has a label {name!r}. Label it: %evaluate label {run.id} --name "
                f"{name}"
            )
        raise unknown_name("label", name, known, "%evaluate label RUN --name NAME makes some.")
    return found


def _judge_agreement(
    run: EvaluationRun, by_item: Mapping[str, Sequence[Label]], judge: str
) -> tuple[str, Estimate]:
    metric = run.metric(judge)
    places = {f"{i.position}\0{i.repetition}": n for n, i in enumerate(run.items)}
    ours, theirs = [], []
    for key, found in by_item.items():
        scored, most = metric.scores[places[key]], people.majority(found)
        if scored.value is not None and most is not None:
            ours.append(scored.value >= 0.5)
            theirs.append(most[1] >= 0.5)
    if not ours:
        raise DataError(f"{judge} has no score of an answer that people agree on.")
    return judge, cohens_kappa(ours, theirs)


def _row(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "": name,
        "agreement": f"{estimate.value:.2f}",
        "95 % interval": f"{estimate.interval.low:.2f} to {estimate.interval.high:.2f}",
        "answers": estimate.n,
    }
