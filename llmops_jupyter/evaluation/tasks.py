"""What people label: answers, or pairs of answers, in an order that tells nothing of who wrote them."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.aligning import check_same_rows
from llmops_jupyter.evaluation.answering import text_of
from llmops_jupyter.evaluation.metrics.arguments import context_of
from llmops_jupyter.evaluation.metrics.metric import Scored
from llmops_jupyter.evaluation.preferences import pair_scope, pairs_of
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item, ScoredMetric, scope_of

RANDOM, UNCERTAIN = "random", "uncertain"
ORDERS = (RANDOM, UNCERTAIN)
UNDECIDED = 0.5
# Between the way in which an answer was picked and the answers among which it was; and between several of these.
AMONG, AND = ":", ","
# The answer that a label belongs to, and what the label depends on beside it.
Place = tuple[int | None, str]


@dataclass(frozen=True)
class Task:
    """One answer to label, or two of which one is to be chosen; `swapped`: the second run's stands left."""

    item: Item
    other: Item | None = None
    swapped: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The answers as they are shown, left before right."""
        if self.other is None:
            return (self.item.case.output,)
        shown = (self.item.case.output, self.other.case.output)
        return shown[::-1] if self.swapped else shown

    @property
    def belongs(self) -> Item:
        """The answer that the label is kept with."""
        return self.other or self.item

    @property
    def place(self) -> Place:
        return place_of(self.item, self.other)

    @property
    def context(self) -> str:
        """What the answer was to rest on; of a pair only if it is the same for both."""
        found = context_of(self.item.case)
        if self.other is not None and context_of(self.other.case) != found:
            return ""
        return found

    @property
    def row(self) -> Mapping[str, Any]:
        """The row's columns; of a pair without those that hold its answers, whose names tell which is which."""
        row = self.item.case.row
        if self.other is None:
            return row
        return {name: value for name, value in row.items() if text_of(value) not in self.outputs}


def place_of(item: Item, other: Item | None = None) -> Place:
    """Where labels of an answer are kept, or of a pair, whose labels are with the second run's answer."""
    if other is None:
        return item.output_id, scope_of(item.row_hash, "")
    return other.output_id, pair_scope(item, other)


def population_of(run: EvaluationRun) -> str:
    """What tells the answers of a run, as rows, from those of a run on other rows."""
    rows = {(i.case.row_id, i.row_hash) for i in run.items if i.output_id is not None}
    text = "\n".join(f"{row_id}\t{row_hash}" for row_id, row_hash in sorted(rows))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def populations(drawn: str) -> tuple[str, ...]:
    """Among which answers one was drawn at random; none if it was not."""
    order, _, found = drawn.partition(AMONG)
    return tuple(filter(None, found.split(AND))) if order == RANDOM else ()


def drawn_among(drawn: str, population: str) -> str:
    """How an answer was picked, if it is drawn at random among these as well."""
    found = dict.fromkeys([*populations(drawn), population])
    return f"{RANDOM}{AMONG}{AND.join(found)}"


def check(order: str, limit: int | None, overlap: float | None) -> None:
    """Whether tasks can be picked in this way.

    Raises:
        OptionError: they cannot.
    """
    if order not in ORDERS:
        raise OptionError(f"order is one of {', '.join(ORDERS)}, not {order!r}.")
    if limit is not None and limit < 1:
        raise OptionError(f"limit is a number from 1, not {limit}.")
    if overlap is None:
        return
    if not 0 <= overlap <= 1:
        raise OptionError(f"overlap is a share from 0 to 1, not {overlap:g}.")
    if order != RANDOM:
        raise OptionError(
            "overlap goes with order='random': the least sure answers are the same for all."
        )


def pick(
    runs: Sequence[EvaluationRun],
    *,
    name: str,
    by: str,
    order: str = RANDOM,
    seed: int = 0,
    limit: int | None = None,
    overlap: float | None = None,
) -> list[Task]:
    """Tasks in the order in which an annotator gets them; see `labels.queue` for the arguments.

    Raises:
        OptionError: an option cannot be used.
        DataError: there is nothing to label, or the runs are on different rows.
    """
    check(order, limit, overlap)
    drawn = random.Random(f"{seed}\0{name}")  # noqa: S311 - an order, no secret
    tasks = _single(runs[0]) if len(runs) == 1 else _pairs(runs[0], runs[1], drawn)
    if not tasks:
        raise DataError(
            "There are no answers to label: none came, or both runs have the same. Run a variant first: "
            "%evaluate run"
        )
    drawn.shuffle(tasks)
    if order == UNCERTAIN:
        certainty = _Certainty(runs)
        tasks.sort(key=certainty.of)
    count = len(tasks) if limit is None else min(limit, len(tasks))
    if overlap is not None:
        shared = math.ceil(overlap * count)
        rest = tasks[shared:]
        random.Random(f"{seed}\0{name}\0{by}").shuffle(rest)  # noqa: S311 - as above
        tasks = [*tasks[:shared], *rest]
    return tasks[:count]


def _single(run: EvaluationRun) -> list[Task]:
    return [Task(item) for item in run.items if item.output_id is not None]


def _pairs(a: EvaluationRun, b: EvaluationRun, drawn: random.Random) -> list[Task]:
    check_same_rows(a, b, common=True)
    return [
        Task(one, other, drawn.random() < 0.5)
        for one, other in pairs_of(a, b)
        if one.case.output != other.case.output
    ]


class _Certainty:
    """How sure the metrics of runs are of a task: 0 is undecided."""

    def __init__(self, runs: Sequence[EvaluationRun]) -> None:
        bounded = [{m.name for m in run.metrics.values() if _is_bounded(m)} for run in runs]
        names = sorted(set.intersection(*bounded))
        if not names:
            raise OptionError(
                "No metric of the run says how sure it is: order='uncertain' needs one with a least and a "
                "greatest score, such as a judge. Label with order='random'."
            )
        self.metrics = [[run.metrics[name] for name in names] for run in runs]
        self.places = [{(i.position, i.repetition): n for n, i in enumerate(r.items)} for r in runs]

    def of(self, task: Task) -> float:
        """How far an answer's scores are from the middle on average; of a pair, how far they differ.

        Scores of metrics that disagree cancel out.
        """
        ours = self._mean(0, task.item)
        if task.other is None:
            return abs(ours - UNDECIDED)
        return abs(ours - self._mean(1, task.other))

    def _mean(self, side: int, item: Item) -> float:
        place = self.places[side][item.position, item.repetition]
        found = [_share(metric, metric.scores[place]) for metric in self.metrics[side]]
        return sum(found) / len(found)


def _is_bounded(metric: ScoredMetric) -> bool:
    bounds = metric.bounds
    return bounds is not None and all(map(math.isfinite, bounds)) and bounds[0] < bounds[1]


def _share(metric: ScoredMetric, scored: Scored) -> float:
    """A score from 0 to 1, the better the higher; a judge's probability of its first label if it tells it."""
    told = _probability(scored.explanation) if metric.source == "judge" else None
    if told is not None:
        return told
    if scored.value is None:
        return UNDECIDED
    assert metric.bounds is not None
    low, high = metric.bounds
    share = (scored.value - low) / (high - low)
    return share if metric.higher_is_better else 1 - share


def _probability(explanation: str) -> float | None:
    """The 0.8 of ``yes 0.80, no 0.20``, as judges explain themselves."""
    first, comma, _ = explanation.partition(",")
    try:
        share = float(first.rpartition(" ")[2])
    except ValueError:
        return None
    return share if comma and 0 <= share <= 1 else None
