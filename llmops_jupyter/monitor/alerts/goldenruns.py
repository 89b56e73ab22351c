"""A golden set, and what its runs came to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_jupyter.evaluation.summary import number
from llmops_jupyter.monitor.alerts import ledger
from llmops_jupyter.render.clock import local
from llmops_jupyter.tracing.messages import clean


@dataclass(frozen=True)
class GoldenSet:
    """What is run again, on which rows, and how much worse it may become.

    Args:
        name: of the set.
        variant: that is run, such as ``support@production``.
        data: its rows: the name of a data set, of which the version is the latest at each run unless it is named.
        metrics: what scores the answers.
        margin: the loss against the reference that does not matter.
        labels: people's labels that correct the metrics that are judges; '' for none.
        every_s: seconds between two runs on a schedule.
        level: probability of a false alarm, for all runs against one reference and all metrics together.
        options: settings of the runs: model, temperature, expected, cluster and the like.
    """

    name: str
    variant: str
    data: str
    metrics: tuple[str, ...]
    margin: float = 0.0
    labels: str = ""
    every_s: float = 86_400.0
    level: float = 0.05
    options: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """As it is kept."""
        return clean(json.dumps(asdict(self), sort_keys=True, ensure_ascii=False))

    @classmethod
    def from_text(cls, text: str) -> GoldenSet:
        """What `text` wrote."""
        value = json.loads(text)
        return cls(**{**value, "metrics": tuple(value["metrics"])})


@dataclass(frozen=True)
class Quality:
    """What one metric came to in one run.

    Args:
        metric: its name.
        value: its mean over the rows; None if no answer has a score.
        low: of the interval, which holds for all runs together.
        high: of the same.
        n: rows with a score.
        difference: to the reference on the same rows, so that more is better; None for the reference itself.
        difference_low: of its interval.
        difference_high: of the same.
        common: rows that it has in common with the reference, of which both have a score; None for the reference.
        dropped: whether the loss is surely more than the margin.
        corrected: the mean that people would give, its interval, and how it was made; None without enough labels.
        uncorrected: why there is no corrected mean, where one was asked for.
        yes_no: whether the value is a rate.
        unit: of the value.
    """

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    common: int | None = None
    dropped: bool = False
    corrected: Mapping[str, Any] | None = None
    uncorrected: str = ""
    yes_no: bool = False
    unit: str = ""

    @property
    def incomparable(self) -> str:
        """Why there is no difference to the reference; '' if there is one, or none is to be."""
        if self.common is None or self.difference is not None:
            return ""
        return f"cannot be compared with the reference: {self.common} rows in common"


@dataclass(frozen=True)
class GoldenRun:
    """One run of a golden set."""

    golden: str
    at: str
    run: int
    reference: int
    look: int
    results: tuple[Quality, ...]
    label: str = ""

    @property
    def dropped(self) -> bool:
        """Whether a metric has surely lost more than the margin."""
        return any(q.dropped for q in self.results)

    @property
    def comparable(self) -> bool:
        """Whether all metrics have a value, and a difference to the reference unless it is that itself."""
        return bool(self.results) and all(
            q.value is not None and not q.incomparable for q in self.results
        )

    def sentence(self) -> str:
        """The run on one line."""
        parts = []
        for q in self.results:
            text = f"{q.metric} {'–' if q.value is None else number(q.value, q.yes_no, q.unit)}"
            if q.difference is not None and q.difference_low is not None:
                low, high = (_points(x, q) for x in (q.difference_low, q.difference_high))
                text += f" ({_points(q.difference, q)} against the reference, {low} to {high})"
                if q.common is not None and q.common < q.n:
                    text += f" on {q.common} of {q.n} rows, which both have"
            elif q.incomparable:
                text += f" ({q.incomparable})"
            parts.append(f"{text}{', dropped' if q.dropped else ''}")
        return f"{self.golden}: {'; '.join(parts) or 'nothing was scored'} · run {self.run}"

    def rows(self) -> list[dict[str, Any]]:
        """One row a metric."""
        return [
            {
                "at": local(ledger.parse(self.at)),
                "variant": self.label,
                "metric": q.metric,
                "value": "–" if q.value is None else number(q.value, q.yes_no, q.unit),
                "interval": _span(q.low, q.high, q),
                "against reference": _against(q),
                "its interval": _span(q.difference_low, q.difference_high, q),
                "corrected by labels": _corrected_text(q),
                "": "dropped" if q.dropped else "",
                "run": self.run,
            }
            for q in self.results
        ]


def _against(q: Quality) -> str:
    if q.incomparable:
        return q.incomparable
    return "reference" if q.difference is None else _points(q.difference, q)


def _points(value: float | None, q: Quality) -> str:
    return "–" if value is None else number(value, q.yes_no, q.unit, signed=True)


def _span(low: float | None, high: float | None, q: Quality) -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"{number(low, q.yes_no, '')} to {number(high, q.yes_no, q.unit)}"


def _corrected_text(q: Quality) -> str:
    if q.corrected is None:
        return q.uncorrected
    span = _span(q.corrected["low"], q.corrected["high"], q)
    return f"{number(q.corrected['value'], q.yes_no, q.unit)} ({span}); {q.corrected['how']}"
