"""What people's labels are for: a judge corrected by them or calibrated on them, and labels as a metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.judges import Calibration, Judge, calibrate, tuned_on
from llmops_jupyter.evaluation.labelled import (
    Label,
    given,
    labels_of,
    majority,
    names_digest,
    preferences,
)
from llmops_jupyter.evaluation.metrics.metric import NEGATED, Engines, Metric, Scored
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import ScoredMetric
from llmops_jupyter.evaluation.statistics import Corrected, Estimate, corrected_mean
from llmops_jupyter.evaluation.statistics.corrected import LEAST
from llmops_jupyter.evaluation.tasks import RANDOM, UNCERTAIN, population_of
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store


@dataclass(frozen=True)
class CorrectedRun:
    """A judge's mean over a run, corrected by people's labels.

    Args:
        judge: the metric's name.
        labels: the labels' name.
        result: the corrected mean beside its parts.
        used: answers whose labels it rests on.
        left_out: labels that may not be used, with the reasons and how often each.
        notes: what else is to be said: which answers it does not speak of, scales that differ.
        same_scale: whether labels and the judge's scores are on one scale, so that they can be compared.
    """

    judge: str
    labels: str
    result: Corrected
    used: int
    left_out: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    same_scale: bool = True

    @property
    def estimate(self) -> Estimate:
        """The corrected mean."""
        return self.result.estimate

    def _named(self) -> dict[str, Estimate]:
        """What is shown side by side: the judge's own mean only where it is on the labels' scale."""
        alone = {"judge alone, which may be biased": self.result.judge_alone}
        return {
            **(alone if self.same_scale else {}),
            f"{self.used} labels alone": self.result.labels_alone,
            "judge corrected by labels": self.result.estimate,
        }

    def rows(self) -> list[dict[str, Any]]:
        """The corrected mean beside the judge's and the labels' own."""
        return [
            {
                "": name,
                "value": f"{e.value:.3f}",
                "95 % interval": f"{e.interval.low:.3f} to {e.interval.high:.3f}",
            }
            for name, e in self._named().items()
        ]

    def sentence(self) -> str:
        """What people would say, on one line."""
        e = self.result.estimate
        off = f"is {self.result.bias:+.3f} off, and " if self.same_scale else ""
        return (
            f"people would give {e.value:.3f} ({e.interval.low:.3f} to {e.interval.high:.3f}): {self.judge} "
            f"{off}counts {self.result.weight:.0%}"
        )

    def remarks(self) -> list[str]:
        """Labels that were left out, and the notes."""
        return [*(f"{n} labels left out: {why}" for why, n in self.left_out), *self.notes]

    def __str__(self) -> str:
        return "\n".join([self.sentence(), render.text_table(self.rows()), *self.remarks()])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        notes = "".join(f"<p><em>{escaped(said)}</em></p>" for said in self.remarks())
        shown = f"<p>{escaped(self.sentence())}</p>{render.table_html(self.rows())}{notes}"
        return bundle(str(self), shown)

    def chart(self) -> Any:
        """The intervals one under the other."""
        from llmops_jupyter.evaluation.charts import Intervals

        return Intervals(self._named(), f"mean of {self.judge} by {self.labels}")


def corrected(
    store: Store, run: EvaluationRun, judge: str, name: str, *, confidence: float = 0.95
) -> CorrectedRun:
    """The mean that people would give to a run's answers, from a judge's scores of all and some labels.

    Only labels of answers that were drawn at random count, and none on which the judge was calibrated. It
    speaks of the answers that can be drawn: those that there are and on which it was not calibrated.

    Raises:
        DataError: fewer than ten answers have labels that may be used, or the judge decided no others.
    """
    metric = run.metric(judge)
    if run.repeats > 1:
        raise DataError("Runs with several answers a row cannot be corrected. Run it with one.")
    tuned, undecided = _tuned_on(store, metric), _middle(metric)
    by_place, reasons = _allowed(labels_of(store, (run,), name), run, tuned)
    usable = {
        n: undecided if scored.value is None else scored.value
        for n, (item, scored) in enumerate(zip(run.items, metric.scores, strict=True))
        if item.output_id is not None and item.output_id not in tuned
    }
    human = [sum(x.value for x in found) / len(found) for found in by_place.values()]
    judged = [usable[n] for n in by_place]
    others = [value for n, value in usable.items() if n not in by_place]
    if len(human) >= LEAST and len(others) < 2:
        raise DataError(
            f"{len(human)} of the {len(usable)} answers are labelled, so nothing is left to "
            f"estimate: take the labels' own mean, {sum(human) / len(human):.3f}."
        )
    if len(human) < LEAST:
        said = "".join(f"; {n} left out ({why})" for why, n in sorted(reasons.items()))
        raise DataError(
            f"A correction needs {LEAST} labels of answers in random order and other "
            f"answers; there are {len(human)} and {len(others)}{said}. Label more with order='random' "
            "(--order random)."
        )
    result = corrected_mean(human, judged, others, confidence=confidence)
    same = _same_scale(metric, human)
    abstained = sum(metric.scores[n].value is None for n in usable)
    notes = _notes(len(run.items) - len(usable), metric, abstained, undecided, same=same)
    return CorrectedRun(
        judge, name, result, len(human), tuple(sorted(reasons.items())), notes, same_scale=same
    )


def _allowed(
    labels: Sequence[Label], run: EvaluationRun, tuned: set[int]
) -> tuple[dict[int, list[Label]], Counter[str]]:
    """Labels that may correct a judge, by the place of the answer; and why how many others may not."""
    at = {item.position: n for n, item in enumerate(run.items)}
    population = population_of(run)
    by_place: dict[int, list[Label]] = {}
    reasons: Counter[str] = Counter()
    for label in labels:
        if label.drawn != RANDOM:
            reasons["not drawn at random"] += 1
        elif population not in label.among:
            reasons["drawn at random among the answers to other rows"] += 1
        elif label.output_id in tuned:
            reasons["the judge was calibrated on it"] += 1
        else:
            by_place.setdefault(at[label.position], []).append(label)
    return by_place, reasons


def _tuned_on(store: Store, metric: ScoredMetric) -> set[int]:
    """The answers on which a judge was calibrated; its opposite was calibrated with it."""
    names = {metric.name, metric.name.removeprefix(NEGATED), metric.identifier}
    return set().union(*(tuned_on(store, name) for name in names))


def _same_scale(metric: ScoredMetric, human: Sequence[float]) -> bool:
    if metric.bounds is None:
        return True
    low, high = metric.bounds
    return low <= min(human) and max(human) <= high


def _middle(metric: ScoredMetric) -> float:
    """What an answer counts as on which the judge does not decide: any constant leaves the mean unbiased."""
    if metric.bounds is not None:
        return sum(metric.bounds) / 2
    known = [s.value for s in metric.scores if s.value is not None]
    return sum(known) / len(known) if known else 0.0


def _notes(
    outside: int, metric: ScoredMetric, abstained: int, undecided: float, *, same: bool
) -> tuple[str, ...]:
    notes = []
    if outside:
        notes.append(
            f"{outside} of the run's answers are not spoken of: they are missing, or the judge was "
            "calibrated on them"
        )
    if abstained:
        notes.append(
            f"the judge does not decide {abstained} answers, which count as {undecided:g} in its own mean and as "
            "what people say in the corrected one"
        )
    if not same and metric.bounds is not None:
        low, high = metric.bounds
        notes.append(
            f"labels have another scale than {metric.name} ({low:g} to {high:g}), whose own mean is not shown"
        )
    return tuple(notes)


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
    for label in labels_of(store, (run,), name):
        by_output.setdefault(label.output_id, []).append(label)
    cases = {item.output_id: item.case for item in run.items}
    words = {value: label for label, value in judge.rubric.labels}
    chosen, said = [], []
    for output_id, found in by_output.items():
        most = majority(found)
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
    for label in labels_of(store, (run,), name):
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
    found = preferences(store, a, b, name)
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
        f"human:{name}", names_digest(name), tuple(scores), bounds=bounds, source="human"
    )
    return replace(run, metrics={**run.metrics, metric.name: metric})


def selection_notes(store: Store, runs: Sequence[EvaluationRun], name: str) -> list[str]:
    """That a comparison by labels rests on answers that were not drawn at random, where it does."""
    found = [
        *(label for run in runs for label in given(store, (run,), name)),
        *given(store, runs, name),
    ]
    uncertain = sum(label.drawn == UNCERTAIN for label in found)
    if not uncertain:
        return []
    said = (
        f"{uncertain} of {len(found)} labels {name!r} are of answers that were picked as uncertain"
    )
    return [f"{said}: they do not stand for all rows"]
