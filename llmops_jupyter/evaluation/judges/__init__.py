"""Judges: models that decide by a rubric, checked before they may, with verdicts by label probabilities.

A name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.judges.bias import PairBias, length_correlation, pair_bias
    from llmops_jupyter.evaluation.judges.calibration import Calibration, calibrate, tuned_on
    from llmops_jupyter.evaluation.judges.checking import JudgeCheck
    from llmops_jupyter.evaluation.judges.criteria import CheckItem, Rubric, rubric, rubrics
    from llmops_jupyter.evaluation.judges.named import parse_judge
    from llmops_jupyter.evaluation.judges.pairs import PairJudge, PairScored, pairwise
    from llmops_jupyter.evaluation.judges.single import Judge, judge

_HOMES = {
    "bias": ("PairBias", "length_correlation", "pair_bias"),
    "calibration": ("Calibration", "calibrate", "tuned_on"),
    "checking": ("JudgeCheck",),
    "single": ("Judge", "judge"),
    "named": ("parse_judge",),
    "pairs": ("PairJudge", "PairScored", "pairwise"),
    "criteria": ("CheckItem", "Rubric", "rubric", "rubrics"),
}

__all__ = [
    "Calibration",
    "CheckItem",
    "Judge",
    "JudgeCheck",
    "PairBias",
    "PairJudge",
    "PairScored",
    "Rubric",
    "calibrate",
    "judge",
    "length_correlation",
    "pair_bias",
    "pairwise",
    "parse_judge",
    "rubric",
    "rubrics",
    "tuned_on",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value  # a module of the same name must not stand before it
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
