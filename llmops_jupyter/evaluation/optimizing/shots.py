"""Few-shot sets: drawn from rows that are kept for that and never scored."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.evaluation.metrics.arguments import as_text
from llmops_jupyter.evaluation.optimizing.instructions import labels_of
from llmops_jupyter.evaluation.rows import EvaluationRow
from llmops_jupyter.prompts.content import Examples

# The share of the training rows that examples may come from, and at most how many.
SHARE, MOST = 0.3, 40


def reserve(
    rows: Sequence[EvaluationRow], most: int, seed: int
) -> tuple[list[EvaluationRow], list[EvaluationRow]]:
    """Rows for examples, and rows to score on, in a seeded order."""
    order = list(rows)
    random.Random(f"{seed}\0rows").shuffle(order)  # noqa: S311 - an order, no secret
    if not most:
        return [], order
    size = min(MOST, max(most, int(SHARE * len(order))))
    return order[:size], order[size:]


def draw(pool: Sequence[EvaluationRow], expected: str, count: int, seed: str) -> Examples | None:
    """Some rows as examples; where answers are labels, each label about as often as the others."""
    known = [row for row in pool if row.values.get(expected) is not None]
    if len(known) < count:
        return None
    drawn = random.Random(seed)  # noqa: S311 - a draw, no secret
    drawn.shuffle(known)
    labels = labels_of([row.values[expected] for row in known])
    chosen = _balanced(known, expected, labels, count) if labels else known[:count]
    drawn.shuffle(chosen)
    return Examples(rows=tuple(_example(row.values, expected) for row in chosen))


def _balanced(
    rows: Sequence[EvaluationRow], expected: str, labels: Sequence[str], count: int
) -> list[EvaluationRow]:
    groups = {label: [r for r in rows if as_text(r.values[expected]) == label] for label in labels}
    chosen: list[EvaluationRow] = []
    while len(chosen) < count and any(groups.values()):
        for group in groups.values():
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen


def _example(values: Mapping[str, Any], expected: str) -> dict[str, Any]:
    wanted = values[expected]
    answer = wanted[0] if isinstance(wanted, list) and wanted else wanted
    rest = {k: v for k, v in values.items() if k != expected}
    return {**rest, "output": as_text(answer)}
