"""Evaluation: metrics, judges, runs, comparisons with intervals, labels, gates, optimisation.

A name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
    from llmops_jupyter.evaluation.metrics.metric import Case, Metric, Scored
    from llmops_jupyter.evaluation.planning import Planned
    from llmops_jupyter.evaluation.runs import EvaluationRun
    from llmops_jupyter.evaluation.stage import Evaluation
    from llmops_jupyter.evaluation.variant import Variant

__all__ = [
    "Case",
    "Comparison",
    "Comparisons",
    "Evaluation",
    "EvaluationRun",
    "Metric",
    "Planned",
    "Scored",
    "Variant",
]

_HOMES = {
    "comparison": {"Comparison", "Comparisons"},
    "metrics.metric": {"Case", "Metric", "Scored"},
    "planning": {"Planned"},
    "runs": {"EvaluationRun"},
    "stage": {"Evaluation"},
    "variant": {"Variant"},
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
