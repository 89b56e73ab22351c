"""Judges by their text: ``judge:relevance``, ``judge:relevance@model``, ``judge:pairwise``."""

from __future__ import annotations

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.judges.criteria import PAIRWISE, rubric
from llmops_jupyter.evaluation.judges.pairs import PairJudge
from llmops_jupyter.evaluation.judges.single import Judge
from llmops_jupyter.evaluation.metrics.metric import Metric
from llmops_jupyter.store import Store

PREFIX = "judge:"


def parse_judge(spec: str, store: Store | None = None) -> Metric | PairJudge:
    """The judge that a text names.

    Raises:
        OptionError: there is no such rubric.
    """
    rest = spec.removeprefix(PREFIX)
    name, _, model = rest.partition("@")
    if not name:
        raise OptionError("Write judge:RUBRIC or judge:RUBRIC@MODEL, for instance judge:relevance")
    if name == PAIRWISE:
        return PairJudge(model=model or None, store=store)
    source = name if name.endswith(".json") else ""
    return Judge(rubric(name), model or None, source=source, store=store).metric()
