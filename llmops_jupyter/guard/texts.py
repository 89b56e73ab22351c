"""Texts to check or to calibrate on, from what a notebook holds: lists, data sets, traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.guard.guardspan import ACTION, DECISION, OPERATION
from llmops_jupyter.guard.guardspan import PLACE as AT
from llmops_jupyter.records import Completion, Message, Place

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.tracing import Traces
    from llmops_jupyter.tracing.records import SpanRecord

COLUMNS: Mapping[Place, tuple[str, ...]] = {
    "input": ("text", "input", "question", "prompt", "query", "message", "user"),
    "context": ("text", "passage", "context", "document"),
    "output": ("text", "output", "answer", "completion", "response"),
}
# Traces that are read unless a filter says how many.
MOST_TRACES = 2_000


@dataclass(frozen=True)
class Texts:
    """Distinct texts for each place, and notes on what was left out."""

    by_place: Mapping[Place, list[str]]
    notes: tuple[str, ...] = field(default=())


def distinct_texts(
    given: Any, place: Place, datasets: Datasets, traces: Traces, column: str | None = None
) -> Texts:
    """Texts for each place without empty ones and copies, which say nothing new of texts to come.

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
    notes: list[str] = []
    if isinstance(given, Mapping) and not set(given) <= set(COLUMNS):
        found = _of_traces(given, traces, notes)
    elif isinstance(given, Mapping):
        found = {where: texts_of(some, where, datasets, column) for where, some in given.items()}
    else:
        found = {place: texts_of(given, place, datasets, column)}
    kept: dict[Place, list[str]] = {}
    for where, some in found.items():
        told = [text for text in some if text.strip()]
        kept[where] = list(dict.fromkeys(told))
        empty, copies = len(some) - len(told), len(told) - len(kept[where])
        left_out = [f"{n:,} {what}" for n, what in ((empty, "empty"), (copies, "copies")) if n]
        if left_out:
            notes.append(f"of the {where} texts were left out: {', '.join(left_out)}")
    if not any(kept.values()):
        raise DataError("The texts are all empty. Give some harmless ones of your own.")
    return Texts(kept, tuple(notes))


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


def _of_traces(
    filters: Mapping[str, Any], traces: Traces, notes: list[str]
) -> dict[Place, list[str]]:
    """What was said in each trace by the user and by the model, without what a policy has denied or changed."""
    given = dict(filters)
    limit = given.pop("limit", MOST_TRACES)
    found: dict[Place, list[str]] = {"input": [], "output": []}
    skipped: Counter[str] = Counter()
    for summary in traces.newest(limit, **{"status": "ok", **given}):
        trace = traces.get(summary.trace_id)
        done = _done(trace.spans)
        skipped.update(done.values())
        if "input" not in done:
            found["input"] += _asked(trace.root.input)
        if "output" not in done and done.get("input") != "denied" and trace.text.strip():
            found["output"].append(trace.text)
    for what, n in sorted(skipped.items()):
        notes.append(f"of the traces were left out what a policy has {what}: {n:,}")
    if not any(found.values()):
        why = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"No traces match, or they hold no texts{why}. Give other filters, such as since='30d'."
        )
    return found


def _done(spans: Sequence[SpanRecord]) -> dict[str, str]:
    """What policies did to the texts of a trace, by place: 'denied' or 'changed'."""
    found: dict[str, str] = {}
    for span in spans:
        if span.op != OPERATION or span.attributes.get(AT) not in ("input", "output"):
            continue
        if span.attributes.get(DECISION) == "deny":
            found[span.attributes[AT]] = "denied"
        elif span.attributes.get(ACTION) == "replaced":
            found.setdefault(span.attributes[AT], "changed")
    return found


def _asked(messages: Sequence[Message]) -> list[str]:
    """What the user says in this turn: what follows the model's last answer, or example of one."""
    answered = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    return [m.content for m in messages[answered + 1 :] if m.role == "user"]
