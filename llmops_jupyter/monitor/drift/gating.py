"""A suite of gates from what changed: what the baseline was like is what must hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics import rate

if TYPE_CHECKING:
    from llmops_jupyter.monitor.drift.report import Report
    from llmops_jupyter.monitor.drift.sample import Sample

# Metrics of numbers that are features, too: the mean may not be beyond this quantile of the baseline.
FIGURES = {
    "latency s": "latency",
    "time to first token s": "first-token",
    "output tokens": "tokens",
    "cost": "cost",
}
HIGH = 0.9


def suite_text(
    name: str,
    data: str,
    variant: str,
    report: Report,
    gates: Sequence[Mapping[str, Any]] | None,
) -> str:
    """The YAML of a suite.

    Raises:
        OptionError: no demand follows from the baseline, and none is given.
    """
    import yaml

    demands = [dict(gate) for gate in gates] if gates is not None else _demands(report)
    if not demands:
        raise OptionError(
            "No demand follows from this baseline: it has no answers. Give some, as in "
            "gates=[{'metric': 'refusal', 'at_most': 0.1}]."
        )
    content = {"name": name, "data": data, "variant": variant, "gates": demands}
    about = [
        f"# Made from drift against {report.baseline.ref}, {report.at}.",
        *(f"# {' '.join(line.split())}" for line in report.summary().split("; ")),
    ]
    return "\n".join([*about, yaml.safe_dump(content, sort_keys=False, allow_unicode=True)])


def _demands(report: Report) -> list[dict[str, Any]]:
    """Refusals no more frequent than the baseline's may be, and figures that changed no larger than its large ones."""
    import numpy as np

    before = report.reference
    found: list[dict[str, Any]] = []
    refusals = _binary(before, "refusal")
    if refusals:
        most = rate(refusals, confidence=0.95, method="clopper-pearson").interval.high
        found.append(
            {"metric": "refusal", "at_most": min(0.95, math.ceil(100 * (most + 0.05)) / 100)}
        )
    for test in report.changed:
        metric = FIGURES.get(test.feature)
        if metric is not None:
            values = before.numbers[test.feature]
            limit = float(np.quantile(values[np.isfinite(values)], HIGH))
            if limit > 0:
                found.append({"metric": metric, "at_most": float(f"{limit:.3g}")})
    return found


def _binary(sample: Sample, name: str) -> list[int]:
    return [int(v == "yes") for v in sample.categories.get(name, ()) if v is not None]
