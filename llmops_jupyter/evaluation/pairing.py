"""By what runs are compared: metrics of single answers, judges of pairs, and people's labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, LLMOpsError
from llmops_jupyter.evaluation.metrics.metric import Engines, Metric
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.judges import PairJudge

JUDGE, HUMAN = "judge:", "human:"
Pair = tuple[EvaluationRun, EvaluationRun, str]


@dataclass(frozen=True)
class Criteria:
    """What runs are compared by.

    Args:
        metrics: of single answers.
        judges: of pairs.
        labels: names of people's labels, of answers or of pairs.
    """

    metrics: tuple[Metric, ...]
    judges: tuple[PairJudge, ...]
    labels: tuple[str, ...]

    @property
    def are_none(self) -> bool:
        return not (self.metrics or self.judges or self.labels)


def criteria(given: Any, store: Store, metric: Callable[[Any], Metric]) -> Criteria:
    """From names, metrics, judges and functions; ``human:NAME`` stands for people's labels."""
    from llmops_jupyter.evaluation.judges import PairJudge, parse_judge

    metrics: list[Metric] = []
    judges: list[PairJudge] = []
    labels: list[str] = []
    for one in given if isinstance(given, list | tuple) else [given]:
        found = parse_judge(one, store) if isinstance(one, str) and one.startswith(JUDGE) else one
        if isinstance(found, PairJudge):
            judges.append(found)
        elif isinstance(found, str) and found.startswith(HUMAN):
            labels.append(found.removeprefix(HUMAN))
        elif found is not None:
            metrics.append(metric(found))
    return Criteria(tuple(metrics), tuple(judges), tuple(labels))


def pairs(
    store: Store,
    engines: Engines,
    first: EvaluationRun,
    others: Sequence[EvaluationRun],
    wanted: Criteria,
    *,
    common: bool,
    tell: Callable[[str], None] | None,
) -> tuple[list[Pair], list[Sequence[str]]]:
    """What is to be compared, and what is to be said of each; runs have what they are compared by."""
    from llmops_jupyter.evaluation.people import selection_notes
    from llmops_jupyter.evaluation.preferences import prefer

    names = [m.name for m in wanted.metrics]
    if wanted.are_none:
        names = [n for n in first.metrics if all(n in other.metrics for other in others)]
    found: list[Pair] = [(first, other, name) for other in others for name in names]
    notes: list[Sequence[str]] = [()] * len(found)
    for other in others:
        for judge in wanted.judges:
            one, two, said = prefer(store, judge, first, other, engines, common=common, tell=tell)
            found.append((one, two, judge.name))
            notes.append(said)
        for name in wanted.labels:
            one, two = _labelled(store, first, other, name)
            found.append((one, two, f"{HUMAN}{name}"))
            notes.append(selection_notes(store, (first, other), name))
    return found, notes


def _labelled(
    store: Store, a: EvaluationRun, b: EvaluationRun, name: str
) -> tuple[EvaluationRun, EvaluationRun]:
    """Both runs with people's labels of their pairs; where there are none, of their answers.

    Raises:
        DataError: there are neither, or those of one run are only of answers that the other has as well.
    """
    from llmops_jupyter.evaluation import people
    from llmops_jupyter.evaluation.labelled import given, preferences

    if preferences(store, a, b, name):
        return people.with_preferences(store, a, b, name)
    try:
        labelled = people.with_labels(store, a, name), people.with_labels(store, b, name)
    except LLMOpsError:
        return people.with_preferences(store, a, b, name)
    for run, other in ((a, b), (b, a)):
        theirs = {item.output_id for item in other.items}
        if {item.output_id for item in run.items} <= theirs:
            continue
        if all(label.output_id in theirs for label in given(store, (run,), name)):
            raise DataError(
                f"The labels {name!r} of run {run.id} are only of answers that run {other.id} has as well. "
                f"Label its own: %evaluate label {run.id} --name {name}"
            )
    return labelled
