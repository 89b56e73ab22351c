"""Scores of traces: how they are kept, read and searched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.records import Score

SOURCES = ("code", "judge", "human")
THUMBS = {"up": 1.0, "down": 0.0}


def value_and_label(value: float | str | bool) -> tuple[float | None, str | None]:
    """A number has no label; ``up`` and ``down`` count as 1 and 0; other words have no number."""
    if isinstance(value, bool):
        return float(value), str(value).lower()
    if isinstance(value, int | float):
        number = float(value)
    else:
        try:
            number = float(value)
        except ValueError:
            return THUMBS.get(value), value
    if not math.isfinite(number):
        raise OptionError("A score is a finite number or a label.")
    return number, None


def add(store: Store, score: Score) -> Score:
    """Write a score; the earlier one of the same name, source and identifier is no longer valid."""
    if score.source not in SOURCES:
        raise OptionError(f"A score's source is one of {', '.join(SOURCES)}, not {score.source!r}.")
    if not score.name:
        raise OptionError("A score needs a name, for example thumb=down.")
    with store.write() as conn:
        conn.execute(
            "UPDATE scores SET valid = 0 WHERE trace_id = ? AND name = ? AND source = ? "
            "AND identifier = ?",
            (score.trace_id, score.name, score.source, score.identifier),
        )
        conn.execute(
            "INSERT INTO scores(trace_id, span_id, name, value, label, explanation, source, "
            "identifier, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(score.trace_id, score.span_id, score.name, score.value, score.label),
                *(score.explanation, score.source, score.identifier, score.at),
            ),
        )
    return score


def of_trace(store: Store, trace_id: str) -> list[Score]:
    """The valid scores of a trace, oldest first."""
    rows = store.rows(
        "SELECT trace_id, name, value, label, explanation, source, identifier, at, span_id "
        "FROM scores WHERE trace_id = ? AND valid ORDER BY id",
        (trace_id,),
    )
    return [Score(*row) for row in rows]


def clause(wanted: str | Mapping[str, Any], s: str = "s") -> tuple[str, list[Any]]:
    """An SQL condition on the span of the name `s`: its trace has the score, or has it with that label or value."""
    if isinstance(wanted, str):
        name, _, given = wanted.partition("=")
        wanted = {name: given or None}
    parts: list[str] = []
    values: list[Any] = []
    for name, expected in wanted.items():
        condition = f"c.trace_id = {s}.trace_id AND c.valid AND c.name = ?"
        values.append(name)
        if expected is not None:
            number, label = value_and_label(expected)
            condition += " AND c.label = ?" if label is not None else " AND c.value = ?"
            values.append(label if label is not None else number)
        parts.append(f"EXISTS (SELECT 1 FROM scores c WHERE {condition})")
    return " AND ".join(parts), values
