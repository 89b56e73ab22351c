"""Evaluation runs with their figures, and comparisons of two."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.render.lengths import beginning
from llmops_jupyter.server.handles import Handle

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.comparison import ChangedRow, Comparison
    from llmops_jupyter.evaluation.listing import Kept
    from llmops_jupyter.evaluation.statistics import Interval

PAGE = 20
# Changed rows that are shown, from either end of their order; and characters of each text.
MOST_CHANGED, CUT = 200, 2_000


def page(handle: Handle, *, cursor: str | None) -> dict[str, Any]:
    """A page of runs, newest first, each metric with its interval."""
    before = None if not cursor else _number(cursor, "cursor")
    runs = handle.workspace.evaluation.kept(before, PAGE + 1)
    shown = runs[:PAGE]
    return {
        "items": [_run(handle, run) for run in shown],
        "next": str(shown[-1].id) if len(runs) > PAGE else None,
    }


def comparison(
    handle: Handle, *, a: str, b: str, metric: str, slices: str | None
) -> dict[str, Any]:
    """Two runs by a metric, without a look that counts."""
    made = handle.workspace.evaluation.glance(
        _number(a, "a"), _number(b, "b"), metric, slices=slices or None
    )
    return {
        "a": made.a,
        "b": made.b,
        "metric": made.metric,
        "words": made.sentence(),
        "verdict": made.verdict,
        "drawn": "rate" if made.yes_no else "mean",
        "unit": made.unit,
        "higher_is_better": made.higher_is_better,
        "a_value": made.a_value,
        "b_value": made.b_value,
        "difference": _estimate(made.difference, made.interval, made.n),
        "p_value": made.p_value,
        "level": made.confidence,
        "look": made.look,
        "notes": made.facts(),
        "slices": [
            {"name": s.name, "difference": _estimate(s.difference, s.interval, s.n)}
            for s in made.slices
        ],
        "columns": list(made.columns),
        "n_changed": made.n_changed,
        "changed": _changed(made),
    }


def _run(handle: Handle, run: Kept) -> dict[str, Any]:
    metrics: Mapping[str, Any] = handle.kept(
        ("run", run.id), (run.finished_at, run.label, run.metrics), lambda: _metrics(handle, run)
    )
    return {
        "id": str(run.id),
        "label": run.label,
        "kind": run.kind,
        "data": run.data or f"{run.rows} rows",
        "started_at": run.started_at,
        "finished": run.finished_at is not None,
        "rows": run.rows,
        "metrics": metrics,
    }


def _metrics(handle: Handle, run: Kept) -> dict[str, Any]:
    """The figures of a run; none where it has no metrics, or its rows are gone."""
    if not run.metrics:
        return {}
    try:
        found = handle.workspace.evaluation.figures(run.id)
    except DataError:
        return {}
    return {
        one.metric: {
            **(
                {"value": None, "low": None, "high": None, "n": one.scored}
                if one.estimate is None
                else _estimate(one.estimate.value, one.estimate.interval, one.scored)
            ),
            "drawn": "rate" if one.yes_no else "mean",
            "unit": one.unit,
        }
        for one in found
    }


def _estimate(value: float, interval: Interval, n: int) -> dict[str, Any]:
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return {
        "value": value,
        "low": interval.low if known else None,
        "high": interval.high if known else None,
        "n": n,
    }


def _changed(made: Comparison) -> list[dict[str, Any]]:
    """The rows that got worse most, then those that got better most."""
    rows = list(made.changed)
    if len(rows) > MOST_CHANGED:
        rows = [*rows[: MOST_CHANGED // 2], *rows[-MOST_CHANGED // 2 :]]
    return [_row(row, higher_is_better=made.higher_is_better) for row in rows]


def _row(row: ChangedRow, *, higher_is_better: bool) -> dict[str, Any]:
    expected = row.expected
    if not isinstance(expected, str):
        expected = "" if expected is None else json.dumps(expected, ensure_ascii=False, default=str)
    return {
        "row": row.row_id,
        "input": beginning(row.input, CUT),
        "expected": beginning(expected, CUT),
        "a": beginning(row.a, CUT),
        "b": beginning(row.b, CUT),
        "a_score": row.a_score,
        "b_score": row.b_score,
        "a_trace": row.a_trace,
        "b_trace": row.b_trace,
        "better": "b" if (row.change > 0) is higher_is_better else "a",
    }


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise OptionError(f"{name} is the number of a run, not {text!r:.60}.")
    return int(text)
