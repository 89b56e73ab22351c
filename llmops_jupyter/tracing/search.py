"""The full-text index over spans: what is put in, and how a search is written."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Message
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.messages import clean, load_messages

WORKFLOW = "invoke_workflow"


def _texts(
    op: str,
    inputs: Sequence[Message],
    outputs: Sequence[Message],
    attributes: Mapping[str, Any],
) -> tuple[str, str]:
    """What is indexed. A workflow repeats what its steps said, so its messages are left out."""
    given = [] if op == WORKFLOW else [m.content for m in inputs]
    made = [] if op == WORKFLOW else [m.content for m in outputs]
    for key, side in ((names.INPUT_VALUE, given), (names.OUTPUT_VALUE, made)):
        value = attributes.get(key)
        if value is not None:
            side.append(value if isinstance(value, str) else json.dumps(value, default=str))
    return clean("\n".join(given)), clean("\n".join(made))


def index_span(
    conn: sqlite3.Connection,
    row: int,
    op: str,
    inputs: Sequence[Message],
    outputs: Sequence[Message],
    attributes: Mapping[str, Any],
) -> None:
    """Put a finished span into the index."""
    given, made = _texts(op, inputs, outputs, attributes)
    if given or made:
        conn.execute(
            "INSERT INTO spans_text(rowid, input, output) VALUES (?, ?, ?)", (row, given, made)
        )


def unindex_span(conn: sqlite3.Connection, row: int) -> None:
    """Take a span out of the index; the text is read again, since the index keeps none."""
    span = conn.execute(
        "SELECT op, status, input_message, output_message, attributes FROM spans WHERE id = ?",
        (row,),
    ).fetchone()
    if span is None or span["status"] == "open":
        return
    inputs = load_messages(conn, span["input_message"])
    outputs = load_messages(conn, span["output_message"], span["input_message"])
    given, made = _texts(span["op"], inputs, outputs, json.loads(span["attributes"]))
    if given or made:
        conn.execute(
            "INSERT INTO spans_text(spans_text, rowid, input, output) VALUES ('delete', ?, ?, ?)",
            (row, given, made),
        )


def match_expression(text: str) -> str:
    """An FTS5 expression for what a user typed.

    All words must occur; "quoted words" are a phrase and a trailing * matches beginnings. Other
    punctuation has no special meaning.
    """
    terms = []
    for phrase, star, word in re.findall(r'"([^"]+)"(\*?)|([^\s"]+)', text):
        star = star or ("*" if word.endswith("*") else "")
        term = phrase or word.rstrip("*")
        if re.search(r"\w", term):
            escaped = clean(term).replace('"', '""')
            terms.append(f'"{escaped}"{star}')
    if not terms:
        raise OptionError(f"{text!r} has no word to search for. Give at least one word.")
    return " ".join(terms)
