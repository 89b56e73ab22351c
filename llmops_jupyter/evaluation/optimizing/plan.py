"""What a search works on: its rows, divided so that none it sees is among those of the comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data.values import canonical
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.metrics.metric import Metric
from llmops_jupyter.evaluation.optimizing import shots
from llmops_jupyter.evaluation.rows import EvaluationRow, EvaluationRows
from llmops_jupyter.evaluation.variant import OPTIONS
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.template import variables_of

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.stage import Evaluation

# LEAST_ROWS are those that a candidate is scored on at first.
LEAST_TRAIN, LEAST_HELD, LEAST_ROWS = 20, 10, 6
TRAIN_SHARE = 0.7


@dataclass(frozen=True)
class Plan:
    """What is searched, on what, and how long.

    Args:
        prompt: the original's reference, for people.
        content: of the original.
        train: rows to score on, in order.
        pool: rows that examples are drawn from.
        held_out: rows of the comparison.
        expected: the column of expected answers.
        metric: what is optimised.
        budget: answers that may be computed.
        proposer: the model that proposes instructions; None for none.
        sizes: of few-shot sets.
        seed: of all draws.
        think: whether a chain of thought is tried as well.
        cluster: the column that says which rows belong together; '' for none.
        options: settings of the runs.
    """

    prompt: str
    content: Content
    train: tuple[EvaluationRow, ...]
    pool: tuple[EvaluationRow, ...]
    held_out: EvaluationRows
    expected: str
    metric: Metric
    budget: int
    proposer: str | None
    sizes: tuple[int, ...]
    seed: int
    think: bool
    cluster: str
    options: Mapping[str, Any]


def make_plan(
    evaluation: Evaluation,
    prompt: Any,
    data: Any,
    metric: Any,
    *,
    held_out: Any,
    budget: int,
    proposer: str | None,
    sizes: Sequence[int],
    seed: int,
    expected: str | None,
    cluster: str | None,
    think: bool,
    options: Mapping[str, Any],
) -> Plan:
    """A plan that can be carried out.

    Raises:
        OptionError: the budget is too small, or an option cannot be used.
        DataError: there are too few rows, they lack something, or held-out rows are among the others.
    """
    reference, content, defaults = _prompt(evaluation, prompt)
    rows = evaluation.rows(data)
    column = rows.expected_column(expected)
    if not column:
        raise DataError(
            "The rows have no expected answers, which a search needs. Name their column: --expected COLUMN."
        )
    _check_variables(content, rows)
    train, held = _divided(
        evaluation, rows, held_out, seed, cluster, variables_of(content.template)
    )
    most = max(sizes, default=0)
    pool, scored = shots.reserve(train, most, seed)
    if len(scored) < LEAST_TRAIN or len(held.rows) < LEAST_HELD:
        raise DataError(
            f"A search needs {LEAST_TRAIN} rows to score on and {LEAST_HELD} held out; of {len(rows.rows)} rows "
            f"there are {len(scored)} and {len(held.rows)} ({len(pool)} are kept for examples). Add rows."
        )
    least = 2 * len(held.rows) + 4 * LEAST_ROWS
    if budget < least:
        raise OptionError(
            f"A budget of {budget} answers is too small: the comparison on {len(held.rows)} held-out rows takes "
            f"{2 * len(held.rows)}, and a search something as well. Give at least {least}, or fewer held-out "
            "rows."
        )
    return Plan(
        prompt=reference,
        content=content,
        train=tuple(scored),
        pool=tuple(pool),
        held_out=held,
        expected=column,
        metric=evaluation.metric(metric),
        budget=budget,
        proposer=proposer,
        sizes=tuple(s for s in sizes if s > 0),
        seed=seed,
        think=think,
        cluster=cluster or "",
        options={**defaults, **options},
    )


def _prompt(evaluation: Evaluation, prompt: Any) -> tuple[str, Content, dict[str, Any]]:
    """Reference, content, and the settings that it was run with last: those of all candidates."""
    if isinstance(prompt, Content):
        return "scratch", prompt, {}
    found = evaluation.prompts.get(prompt) if isinstance(prompt, str) else prompt
    known = {k: v for k, v in found.defaults.items() if k in OPTIONS and v is not None}
    return found.ref, found.content, known


def _divided(
    evaluation: Evaluation,
    rows: EvaluationRows,
    held_out: Any,
    seed: int,
    cluster: str | None,
    variables: Sequence[str],
) -> tuple[list[EvaluationRow], EvaluationRows]:
    """Training and held-out rows, of which none is in both: none that puts the same to the model."""

    def asked(row: EvaluationRow) -> str:
        if not variables:
            return row.digest
        return canonical({name: row.values.get(name) for name in variables})

    if cluster:
        rows.column(cluster, "cluster")
    if held_out is not None:
        held = evaluation.rows(held_out)
        if cluster:
            held.column(cluster, "cluster")
    else:

        def is_held(row: EvaluationRow) -> bool:
            key = str(row.values.get(cluster)) if cluster else row.row_id
            raw = hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8]
            return int.from_bytes(raw, "big") / 2**64 >= TRAIN_SHARE

        held = replace(rows, rows=tuple(r for r in rows.rows if is_held(r)))
        inside = set(map(asked, held.rows))
        return [r for r in rows.rows if not is_held(r) and asked(r) not in inside], held
    inside = set(map(asked, held.rows))
    shared = [row.row_id for row in rows.rows if asked(row) in inside]
    if shared:
        raise DataError(
            f"{len(shared)} held-out rows are among the training rows, for instance {shared[0]!r}: a "
            "comparison on them would say nothing. Split the data set: %data split NAME train=0.7 test=0.3"
        )
    return list(rows.rows), held


def _check_variables(content: Content, rows: EvaluationRows) -> None:
    missing = [name for name in variables_of(content.template) if name not in rows.columns]
    if missing:
        raise DataError(
            f"The prompt takes {', '.join(missing)}, and the rows have no such column. Columns: "
            f"{', '.join(rows.columns)}."
        )
