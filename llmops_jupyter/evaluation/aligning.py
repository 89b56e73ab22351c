"""Two runs row by row: which rows both have, their scores, and which of them belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.looks import SeenRow
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item, ScoredMetric


@dataclass(frozen=True)
class Pair:
    """A row with the mean score of each variant over its repetitions."""

    a_item: Item
    b_item: Item
    a: float
    b: float


@dataclass(frozen=True)
class Aligned:
    """Rows with two scores, and why others have not."""

    pairs: tuple[Pair, ...]
    left_out: tuple[tuple[str, int], ...]

    def values(self) -> tuple[list[float], list[float]]:
        return [p.a for p in self.pairs], [p.b for p in self.pairs]

    def seen(self, a: EvaluationRun, b: EvaluationRun) -> list[SeenRow]:
        """The rows as a look counts them, with all answers of both runs, repetitions included."""
        outputs: dict[tuple[str, str], list[int]] = {}
        for item in (*a.items, *b.items):
            if item.output_id is not None:
                outputs.setdefault((item.case.row_id, item.row_hash), []).append(item.output_id)
        return [
            SeenRow(
                row_hash, row_id, tuple(sorted(outputs.get((row_id, row_hash), ()))), (p.a, p.b)
            )
            for p in self.pairs
            for row_id, row_hash in [(p.a_item.case.row_id, p.a_item.row_hash)]
        ]


def check_same_rows(a: EvaluationRun, b: EvaluationRun, *, common: bool) -> None:
    """Raise a DataError if two runs are not on the same rows, unless only the common ones are wanted."""
    first = {(i.case.row_id, i.row_hash) for i in a.items}
    second = {(i.case.row_id, i.row_hash) for i in b.items}
    if first == second:
        return
    shared = len(first & second)
    if common and shared:
        return
    raise DataError(
        f"Run {a.id} ({a.data}) and run {b.id} ({b.data}) are on different rows: {shared} in common, "
        f"{len(first - second)} only in the first, {len(second - first)} only in the second. Run both on "
        "the same data set"
        + (", or compare the common ones (common=True, --common)." if shared else ".")
    )


def align(a: EvaluationRun, one: ScoredMetric, b: EvaluationRun, other: ScoredMetric) -> Aligned:
    """The rows that both runs have a score of."""
    first, missing = _scores(a, one)
    second, more = _scores(b, other)
    left_out = Counter(why for key, why in {**missing, **more}.items())
    pairs = [
        Pair(item, second[key][0], value, second[key][1])
        for key, (item, value) in first.items()
        if key in second
    ]
    return Aligned(tuple(pairs), tuple(left_out.most_common()))


def _scores(
    run: EvaluationRun, metric: ScoredMetric
) -> tuple[dict[tuple[str, str], tuple[Item, float]], dict[tuple[str, str], str]]:
    """The mean score of each row, and why others have none."""
    values: dict[tuple[str, str], list[float]] = {}
    items: dict[tuple[str, str], Item] = {}
    reasons: dict[tuple[str, str], str] = {}
    for item, scored in zip(run.items, metric.scores, strict=True):
        key = (item.case.row_id, item.row_hash)
        if scored.value is None:
            reasons[key] = scored.error or scored.label or scored.explanation or "no score"
            continue
        values.setdefault(key, []).append(scored.value)
        items.setdefault(key, item)
    made = {k: (items[k], sum(v) / len(v)) for k, v in values.items()}
    return made, {k: why for k, why in reasons.items() if k not in made}


def clusters_of(
    a: EvaluationRun, b: EvaluationRun, aligned: Aligned
) -> tuple[list[Hashable] | None, str]:
    """The cluster of each row, None if rows are independent; and what is to be said of it."""
    if a.cluster and b.cluster and a.cluster != b.cluster:
        raise OptionError(
            f"Rows belong together by {a.cluster!r} in one run and by {b.cluster!r} in the other. Name one "
            "column: cluster='NAME' (--cluster NAME)."
        )
    column = a.cluster or b.cluster
    if column:
        return [str(p.a_item.case.row.get(column)) for p in aligned.pairs], ""
    asked = [p.a_item.asked for p in aligned.pairs]
    copies = len(asked) - len(set(asked))
    if not copies:
        return None, ""
    return list(asked), (
        f"{copies} rows put to the model what others do, under ids of their own: such rows count as one cluster"
    )
