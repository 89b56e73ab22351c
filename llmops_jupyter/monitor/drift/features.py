"""What is watched of a trace or a row: numbers, categories and texts.

A value that was not recorded is missing, and is never put as 0.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from llmops_jupyter.data.preparing.languages import guesser
from llmops_jupyter.guard.refusing import refuses
from llmops_jupyter.tracing import Traces, names, values
from llmops_jupyter.tracing.runs import RUN

# Characters of a text that are kept; lengths are of the whole.
KEPT_TEXT = 2_000
MEAN_LOGPROB = "llmops.mean_logprob"
SUPPORTED = "llmops.rag.supported"
VARIABLES = "llmops.prompt.variables"
DOCUMENTS = "gen_ai.retrieval.documents"
# Traces that are read at once.
BATCH = 500


@dataclass
class Row:
    """One row before it goes into columns; `span` is that of a run within the trace, '' for the whole one."""

    id: str
    session: str | None = None
    at: int = 0
    numbers: dict[str, float] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    vector: Any = None
    span: str = ""


@lru_cache(maxsize=1)
def _language() -> Callable[[str], str] | None:
    return guesser()


def add_texts(row: Row, given: str | None, made: str | None, *, finished: bool = True) -> None:
    """The texts with what follows from them: lengths, refusal, emptiness, language."""
    if given is not None:
        row.texts["input"] = given[:KEPT_TEXT]
        row.numbers["input characters"] = float(len(given))
        _add_language(row, "input language", given)
    if made is not None:
        row.texts["output"] = made[:KEPT_TEXT]
        row.numbers["output characters"] = float(len(made))
        row.categories["empty answer"] = _yes(not made.strip())
        row.categories["refusal"] = _yes(refuses(made))
        _add_language(row, "output language", made)
    elif finished and given is not None:
        row.categories["empty answer"] = "yes"


def _add_language(row: Row, name: str, text: str) -> None:
    if _language() is not None:
        row.categories[name] = _language_of(text[:KEPT_TEXT])


@lru_cache(maxsize=4_096)
def _language_of(text: str) -> str:
    """Kept for texts that come again, since a guess takes about a millisecond."""
    guess = _language()
    return (guess(text) if guess is not None else "") or "not sure"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def row_of_span(
    span: sqlite3.Row,
    status: str,
    texts: tuple[str | None, str | None],
    scores: Mapping[str, float | str],
    retrieval: float | None,
) -> Row:
    """The features of a trace from its root span, or of a run in it. Runs of one trace belong together as a session does.

    Args:
        span: the row of the store.
        status: of the span, as it is now.
        texts: the user's and the answer's.
        scores: valid ones by name; words are categories.
        retrieval: the score of the passage that was found first.
    """
    attributes = values.read(span["attributes"])
    row = Row(str(span["trace_id"]), span["session"], int(span["start_ns"]))
    if span["parent_id"] is not None:
        row.span, row.session = str(span["span_id"]), row.session or row.id
    row.categories["status"] = status
    if span["model"]:
        row.categories["model"] = str(span["model"])
    reasons = attributes.get(names.FINISH_REASONS)
    if isinstance(reasons, list) and reasons:
        row.categories["finish reason"] = str(reasons[-1])
    for name, value in _figures(span, attributes, retrieval).items():
        if value is not None and math.isfinite(value):
            row.numbers[name] = value
    for name, score in scores.items():
        if isinstance(score, str):
            row.categories[f"score {name}"] = score
        else:
            row.numbers[f"score {name}"] = score
    add_texts(row, *texts, finished=status == "ok")
    return row


def _figures(
    span: sqlite3.Row, attributes: Mapping[str, Any], retrieval: float | None
) -> dict[str, float | None]:
    start, end, first = span["start_ns"], span["end_ns"], span["first_token_ns"]
    if attributes.get(names.MAP_ROWS, 1) > 1:  # the times of a batch are those of its queue
        end = first = None
    tokens = span["output_tokens"]
    rate = None
    if tokens and end is not None and first is not None and end > first:
        rate = tokens / ((end - first) / 1e9)
    return {
        "input tokens": _number(span["input_tokens"]),
        "output tokens": _number(tokens),
        "latency s": None if end is None else (end - start) / 1e9,
        "time to first token s": None if first is None else (first - start) / 1e9,
        "tokens per s": rate,
        "mean log-probability": _number(attributes.get(MEAN_LOGPROB)),
        "groundedness": _number(attributes.get(SUPPORTED)),
        "retrieval score": retrieval,
        "cost": _number(span["cost"]),
    }


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def input_of(attributes: Mapping[str, Any], last_user: str | None) -> str | None:
    """What the user put in: the values of the prompt's variables, else the last message of the user.

    The values lack the words of the template, which are the same in all.
    """
    variables = attributes.get(VARIABLES)
    if isinstance(variables, Mapping):
        said = [str(v) for v in variables.values() if isinstance(v, str | int | float) and str(v)]
        if said:
            return "\n".join(said)
    if last_user is not None:
        return last_user
    given = attributes.get(names.INPUT_VALUE)
    if given is None:
        return None
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def variables_of(
    traces: Traces, places: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """The values of the prompt's variables, whole and with their names; what has none is left out.

    Args:
        traces: of the workspace.
        places: of each row its trace, and the run's span in it or '' for the whole trace.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for begin in range(0, len(places), BATCH):
        part = set(places[begin : begin + BATCH])
        ids = list({trace for trace, _ in part})
        rows = traces.store.rows(
            "SELECT trace_id, span_id, parent_id, attributes FROM spans "
            f"WHERE trace_id IN ({','.join('?' * len(ids))}) AND (parent_id IS NULL OR op = '{RUN}')",
            ids,
        )
        for row in rows:
            place = (str(row["trace_id"]), "" if row["parent_id"] is None else str(row["span_id"]))
            variables = values.read(row["attributes"]).get(VARIABLES) if place in part else None
            if isinstance(variables, Mapping) and variables:
                found[place] = {str(k): v for k, v in variables.items()}
    return found
