"""What a run of a golden set says: each metric's value, its loss against the reference, corrected by labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.evaluation.judges import tuned_on
from llmops_jupyter.evaluation.labelled import labels_of
from llmops_jupyter.evaluation.statistics import (
    Estimate,
    corrected_mean,
    paired_means,
    paired_rates,
)
from llmops_jupyter.evaluation.summary import summarise
from llmops_jupyter.evaluation.tasks import RANDOM
from llmops_jupyter.monitor.alerts.goldenruns import Quality

if TYPE_CHECKING:
    from llmops_jupyter.evaluation import Evaluation, EvaluationRun
    from llmops_jupyter.evaluation.scoring import ScoredMetric
    from llmops_jupyter.monitor.alerts.goldenruns import GoldenSet

# Rows with both scores, from which on a difference is spoken of.
LEAST = 5


def share_of(level: float, look: int, metrics: int) -> float:
    """The part of the error that the k-th look has, for each metric: the parts of all looks come to `level`."""
    return level / (look * (look + 1) * max(1, metrics))


def results_of(
    evaluation: Evaluation,
    golden: GoldenSet,
    run: EvaluationRun,
    reference: EvaluationRun,
    look: int,
) -> tuple[Quality, ...]:
    """Each metric's value and its difference to the reference, with intervals that hold for all runs together."""
    confidence = 1 - share_of(golden.level, look, len(run.metrics))
    found = []
    for metric in run.metrics.values():
        summary = summarise(metric, run.items, run.clusters(), confidence=confidence)
        made = summary.estimate
        low, high = _bounds(made)
        difference, common = None, None
        if run.id != reference.id:
            common = len(in_common(reference, run, metric.name))
            difference = difference_to(reference, run, metric.name, confidence)
        diff_low, diff_high = _bounds(difference)
        found.append(
            Quality(
                metric=metric.name,
                value=made.value if made else None,
                low=low,
                high=high,
                n=summary.scored,
                difference=difference.value if difference else None,
                difference_low=diff_low,
                difference_high=diff_high,
                common=common,
                dropped=diff_high is not None and diff_high < -golden.margin,
                yes_no=metric.is_yes_no,
                unit=metric.unit,
                **_corrected(evaluation, golden, run, reference, metric),
            )
        )
    return tuple(found)


def difference_to(
    reference: EvaluationRun, run: EvaluationRun, name: str, confidence: float
) -> Estimate | None:
    """How much better a run is than the reference, on the rows that both have; None where these are too few."""
    pairs = in_common(reference, run, name)
    if len(pairs) < LEAST:
        return None
    a, b = [first for first, _ in pairs], [second for _, second in pairs]
    if not run.metric(name).higher_is_better:
        a, b = b, a
    if all(v in (0.0, 1.0) for v in (*a, *b)):
        return paired_rates(a, b, confidence=confidence)
    return paired_means(a, b, confidence=confidence)


def in_common(reference: EvaluationRun, run: EvaluationRun, name: str) -> list[tuple[float, float]]:
    """The scores of the rows that two runs have in common: of one id, and equal in all columns that both have.

    Which columns decide a score is the metric's own matter, so one that was added or taken away decides nothing, and one
    with another value makes another row.
    """
    if name not in reference.metrics or name not in run.metrics:
        return []
    first, second = _scores(reference, name), _scores(run, name)
    columns = set().union(*(row for row, _ in first.values()))
    columns &= set().union(*(row for row, _ in second.values()))
    # Answers that the rows have are what is compared.
    columns -= {reference.variant.get("column"), run.variant.get("column")}
    return [
        (was, now)
        for row_id, (row, was) in first.items()
        if row_id in second
        for other, now in [second[row_id]]
        if all(row.get(c) == other.get(c) for c in columns)
    ]


def _scores(run: EvaluationRun, name: str) -> dict[str, tuple[Mapping[str, Any], float]]:
    """Each row with its mean score; of a metric that says yes or no, an answer that is missing counts as wrong."""
    metric = run.metric(name)
    rows: dict[str, Mapping[str, Any]] = {}
    found: dict[str, list[float]] = {}
    for item, scored in zip(run.items, metric.scores, strict=True):
        value = scored.value
        if value is None and item.output_id is None and metric.is_yes_no:
            value = 0.0 if metric.higher_is_better else 1.0
        if value is not None:
            rows[item.case.row_id] = item.case.row
            found.setdefault(item.case.row_id, []).append(value)
    return {row_id: (rows[row_id], sum(some) / len(some)) for row_id, some in found.items()}


def _bounds(made: Estimate | None) -> tuple[float | None, float | None]:
    if made is None:
        return None, None
    low, high = made.interval.low, made.interval.high
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def _corrected(
    evaluation: Evaluation,
    golden: GoldenSet,
    run: EvaluationRun,
    reference: EvaluationRun,
    metric: ScoredMetric,
) -> dict[str, Any]:
    """A judge's mean corrected by labels of this run; or by those of the reference, if it has none of its own."""
    if not golden.labels or metric.source != "judge":
        return {}
    try:
        own = evaluation.corrected(run, metric.name, golden.labels)
        return _facts(own.estimate, f"by {own.used} labels of this run")
    except LLMOpsError as e:
        if run.id == reference.id:
            return {"uncorrected": str(e)}
    try:
        return _by_reference(evaluation, golden, run, reference, metric)
    except LLMOpsError as e:
        return {"uncorrected": str(e)}


def _by_reference(
    evaluation: Evaluation,
    golden: GoldenSet,
    run: EvaluationRun,
    reference: EvaluationRun,
    metric: ScoredMetric,
) -> dict[str, Any]:
    """As `people.corrected`, where labels and other answers are of two runs: it rests on the same bias in both."""
    judged, store = reference.metric(metric.name), evaluation.store
    tuned = tuned_on(store, metric.name) | tuned_on(store, metric.identifier)
    said: dict[int, list[float]] = {}
    for label in labels_of(store, (reference,), golden.labels):
        if label.drawn == RANDOM and label.output_id not in tuned:
            said.setdefault(label.position, []).append(label.value)
    pairs = [
        (sum(said[item.position]) / len(said[item.position]), scored.value)
        for item, scored in zip(reference.items, judged.scores, strict=True)
        if item.position in said and scored.value is not None
    ]
    others = [s.value for s in metric.scores if s.value is not None]
    made = corrected_mean([p[0] for p in pairs], [p[1] for p in pairs], others)
    how = (
        f"by {len(pairs)} labels of run {reference.id}, if the judge errs now as it did then; label run {run.id} "
        "to know"
    )
    return _facts(made.estimate, how)


def _facts(made: Estimate, how: str) -> dict[str, Any]:
    low, high = _bounds(made)
    return {"corrected": {"value": made.value, "low": low, "high": high, "how": how}}
