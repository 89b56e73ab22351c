"""Texts to check or to calibrate on, from what a notebook holds: lists, data sets, traces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.records import Completion, Place

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.tracing import Traces

COLUMNS: Mapping[Place, tuple[str, ...]] = {
    "input": ("text", "input", "question", "prompt", "query", "message", "user"),
    "context": ("text", "passage", "context", "document"),
    "output": ("text", "output", "answer", "completion", "response"),
}
# Traces that are read unless a filter says how many.
MOST_TRACES = 2_000


def texts_by_place(
    given: Any, place: Place, datasets: Datasets, traces: Traces, column: str | None = None
) -> dict[Place, list[str]]:
    """Texts for each place.

    Args:
        given: a list of texts or rows, a DataFrame, a data set or its reference; a mapping of places to these; or filters
            of traces, such as ``{"prompt": "support", "since": "7d"}``, whose inputs and outputs are taken.
        place: of what has no place.
        datasets: where references are looked up.
        traces: where filters look.
        column: of rows.

    Raises:
        DataError: there are no texts in it.
    """
    if isinstance(given, Mapping) and not set(given) <= set(COLUMNS):
        return _of_traces(given, traces)
    if isinstance(given, Mapping):
        return {where: texts_of(some, where, datasets, column) for where, some in given.items()}
    return {place: texts_of(given, place, datasets, column)}


def texts_of(given: Any, place: Place, datasets: Datasets, column: str | None = None) -> list[str]:
    """Texts of a list, a DataFrame, a data set or its reference.

    Raises:
        DataError: there are none.
    """
    if isinstance(given, str):
        given = datasets.get(given)
    rows = getattr(given, "rows", None)
    to_dict = getattr(given, "to_dict", None)
    if callable(rows):
        given = list(rows())
    elif hasattr(given, "columns") and callable(to_dict):
        given = to_dict("records")
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise DataError(f"Texts are a list, a DataFrame or a data set, not {type(given).__name__}.")
    found: list[Any] = [str(one) if isinstance(one, Completion) else one for one in given]
    if found and all(isinstance(one, Mapping) for one in found):
        found = _column(found, place, column)
    wrong = next((one for one in found if not isinstance(one, str)), None)
    if wrong is not None:
        raise DataError(
            f"A text is a str, not {type(wrong).__name__}. Name the column of texts: column='question'."
        )
    if not found:
        raise DataError("There are no texts. Give some harmless ones of your own.")
    return found


def _column(rows: Sequence[Mapping[str, Any]], place: Place, column: str | None) -> list[Any]:
    """The texts of rows: of the column that is named, of one with a usual name, or of the only one."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    chosen = column or next((c for c in COLUMNS[place] if c in names), None)
    if chosen is None and len(names) == 1:
        chosen = names[0]
    if chosen is None or chosen not in names:
        what = (
            f"There is no column {column!r}"
            if column
            else "None of the columns is known to hold the texts"
        )
        raise DataError(
            f"{what}. Columns: {', '.join(map(str, names))}. Name one: column='…' or --column."
        )
    return [row.get(chosen) for row in rows if row.get(chosen) is not None]


def _of_traces(filters: Mapping[str, Any], traces: Traces) -> dict[Place, list[str]]:
    """Inputs and outputs of traces, without those that a policy has denied."""
    given = dict(filters)
    limit = given.pop("limit", MOST_TRACES)
    found: dict[Place, list[str]] = {"input": [], "output": []}
    for summary in traces.newest(limit, **{"status": "ok", **given}):
        trace = traces.get(summary.trace_id)
        root = trace.root
        if root.attributes.get("llmops.guard.decision") == "deny":
            continue
        found["input"] += [m.content for m in root.input if m.role == "user" and m.content.strip()]
        if trace.text.strip():
            found["output"].append(trace.text)
    if not any(found.values()):
        raise DataError(
            "No traces match, or they hold no texts. Give other filters, such as since='30d'."
        )
    return found
