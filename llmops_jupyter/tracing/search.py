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


def texts_of_span(
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


def enqueue(conn: sqlite3.Connection, row: int) -> None:
    """Note a finished span for the index."""
    conn.execute("INSERT OR IGNORE INTO unindexed(id) VALUES (?)", (row,))


def index_known(conn: sqlite3.Connection, spans: Sequence[tuple[int, str, str]]) -> None:
    """Put spans whose text is at hand into the index, unless someone else has done so already."""
    for row, given, made in spans:
        waited = conn.execute("DELETE FROM unindexed WHERE id = ?", (row,)).rowcount
        if waited and (given or made):
            conn.execute(
                "INSERT INTO spans_text(rowid, input, output) VALUES (?, ?, ?)", (row, given, made)
            )


def index_pending(conn: sqlite3.Connection, limit: int = -1) -> int:
    """Put the spans that wait into the index, oldest first; returns how many."""
    rows = conn.execute("SELECT id FROM unindexed ORDER BY id LIMIT ?", (limit,)).fetchall()
    for (row,) in rows:
        given, made = _texts_of(conn, row)
        if given or made:
            conn.execute(
                "INSERT INTO spans_text(rowid, input, output) VALUES (?, ?, ?)", (row, given, made)
            )
    if rows:
        conn.execute("DELETE FROM unindexed WHERE id <= ?", (rows[-1][0],))
    return len(rows)


def unindex_span(conn: sqlite3.Connection, row: int) -> None:
    """Take a span out of the index; the text is read again, since the index keeps none."""
    waiting = conn.execute("DELETE FROM unindexed WHERE id = ?", (row,)).rowcount
    given, made = ("", "") if waiting else _texts_of(conn, row)
    if given or made:
        conn.execute(
            "INSERT INTO spans_text(spans_text, rowid, input, output) VALUES ('delete', ?, ?, ?)",
            (row, given, made),
        )


def _texts_of(conn: sqlite3.Connection, row: int) -> tuple[str, str]:
    """The text of a finished span; nothing for one that is open or gone."""
    span = conn.execute(
        "SELECT op, status, input_message, output_message, attributes FROM spans WHERE id = ?",
        (row,),
    ).fetchone()
    if span is None or span["status"] == "open":
        return "", ""
    inputs = load_messages(conn, span["input_message"])
    outputs = load_messages(conn, span["output_message"], span["input_message"])
    return texts_of_span(span["op"], inputs, outputs, json.loads(span["attributes"]))


def match_expression(text: str) -> str:
    """An FTS5 expression for what a user typed.

    All words must occur; "quoted words" are a phrase and a trailing * matches beginnings. Other
    punctuation has no special meaning.
    """
    terms = []
    for phrase, mark, word in re.findall(r'"([^"]+)"(\*?)|([^\s"]+)', text):
        star = mark or ("*" if word.endswith("*") else "")
        term = phrase or word.rstrip("*")
        if re.search(r"\w", term):
            escaped = clean(term).replace('"', '""')
            terms.append(f'"{escaped}"{star}')
    if not terms:
        raise OptionError(f"{text!r} has no word to search for. Give at least one word.")
    return " ".join(terms)
