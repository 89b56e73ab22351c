"""What a run's scores come to: a rate or a mean with its interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.evaluation.scoring import Item, ScoredMetric
from llmops_jupyter.evaluation.statistics import (
    Estimate,
    Interval,
    clustered_mean,
    mean,
    rate,
)
from llmops_jupyter.evaluation.statistics.estimate import CONFIDENCE

UNKNOWN = "too few rows for an interval"


@dataclass(frozen=True)
class Summary:
    """A metric's value over a run.

    Args:
        metric: its name.
        estimate: with its interval; None if no answer has a score.
        scored: answers with a score.
        missing: answers without one, with the reasons and how often each.
        yes_no: whether the value is a rate.
        unit: of the value.
    """

    metric: str
    estimate: Estimate | None
    scored: int
    missing: tuple[tuple[str, int], ...]
    yes_no: bool
    unit: str = ""

    def value_text(self) -> str:
        """The value for people: a rate in per cent."""
        return "–" if self.estimate is None else number(self.estimate.value, self.yes_no, self.unit)

    def interval_text(self) -> str:
        """The interval for people."""
        if self.estimate is None or not math.isfinite(self.estimate.interval.low):
            return "–"
        low, high = self.estimate.interval.low, self.estimate.interval.high
        return f"{number(low, self.yes_no, '')} to {number(high, self.yes_no, self.unit)}"


def number(value: float, yes_no: bool, unit: str, *, signed: bool = False) -> str:
    """A value for people: rates in per cent, others with three digits that count."""
    sign = "+" if signed else ""
    if not math.isfinite(value):
        return "?"
    if yes_no:
        return f"{100 * value:{sign}.1f} %"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    text = f"{value:{sign}.{digits}f}"
    if value and abs(value) < 0.001:
        text = f"{value:{sign}.2g}"
    return f"{text} {unit}".rstrip()


def summarise(
    metric: ScoredMetric,
    items: Sequence[Item],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = CONFIDENCE,
) -> Summary:
    """Value and interval of a metric.

    Repetitions of a row count as one: their mean. With `clusters`, the name of each answer's cluster, the
    interval allows for rows that belong together.
    """
    values, names = by_row(metric, items, clusters)
    missing = Counter(
        s.error or s.label or s.explanation or "no score" for s in metric.scores if s.value is None
    )
    reasons = tuple(missing.most_common())
    scored = sum(s.value is not None for s in metric.scores)
    made = None
    if values:
        made = _estimate(
            values, names if clusters is not None else None, metric.is_yes_no, confidence
        )
        if metric.bounds is not None and math.isfinite(made.interval.low):
            made = replace(made, interval=made.interval.within(*metric.bounds))
    return Summary(metric.name, made, scored, reasons, metric.is_yes_no, metric.unit)


def by_row(
    metric: ScoredMetric, items: Sequence[Item], clusters: Sequence[Hashable] | None = None
) -> tuple[list[float], list[Hashable]]:
    """The mean score of each row over its repetitions, and its cluster; rows without a score are left out."""
    found: dict[int, list[float]] = {}
    named: dict[int, Hashable] = {}
    for place, (item, scored) in enumerate(zip(items, metric.scores, strict=True)):
        if scored.value is None:
            continue
        found.setdefault(item.position, []).append(scored.value)
        named[item.position] = clusters[place] if clusters is not None else item.position
    return [sum(v) / len(v) for v in found.values()], [named[p] for p in found]


def _estimate(
    values: list[float], clusters: list[Hashable] | None, yes_no: bool, confidence: float
) -> Estimate:
    if len(values) < 2 and not yes_no:
        return Estimate(values[0], Interval(-math.inf, math.inf, confidence, UNKNOWN), 1)
    if clusters is not None:
        if len(set(clusters)) < 2:
            alone = Interval(-math.inf, math.inf, confidence, "one cluster only")
            return Estimate(sum(values) / len(values), alone, len(values))
        made = clustered_mean(values, clusters, confidence=confidence)
    elif yes_no and all(v in (0.0, 1.0) for v in values):
        return rate(values, confidence=confidence)
    else:
        made = mean(values, confidence=confidence)
    if yes_no:
        return Estimate(made.value, made.interval.within(0.0, 1.0), made.n, clusters=made.clusters)
    return made
