"""The full-text index over spans: what is put in, and how a search is written."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Message
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import names, values
from llmops_jupyter.tracing.messages import clean, load_messages

WORKFLOW = "invoke_workflow"
RANKED_AMONG = 5_000
INDEX = (
    "CREATE VIRTUAL TABLE {} USING fts5(input, output, content='', "
    'tokenize="unicode61 remove_diacritics 2")'
)


def texts_of_span(
    op: str,
    inputs: Sequence[Message],
    outputs: Sequence[Message],
    attributes: Mapping[str, Any],
) -> tuple[str, str]:
    """What is indexed. A workflow repeats what its steps said, so its messages are left out."""
    given = [] if op == WORKFLOW else [_text(m) for m in inputs]
    made = [] if op == WORKFLOW else [_text(m) for m in outputs]
    sides = {
        names.INPUT_VALUE: given,
        names.TOOL_NAME: given,
        names.TOOL_ARGUMENTS: given,
        names.OUTPUT_VALUE: made,
        names.TOOL_RESULT: made,
    }
    for key, side in sides.items():
        value = attributes.get(key)
        if value is not None:
            side.append(value if isinstance(value, str) else json.dumps(value, default=str))
    return clean("\n".join(given)), clean("\n".join(made))


def _text(message: Message) -> str:
    """What a message says, and the calls that it asks for."""
    if not message.tool_calls:
        return message.content
    calls = [f"{c.name} {json.dumps(c.arguments, default=str)}" for c in message.tool_calls]
    return "\n".join([message.content, *calls])


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
    return texts_of_span(span["op"], inputs, outputs, values.read(span["attributes"]))


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


def traces_with(
    store: Store, text: str, order: str, condition: tuple[str, list[Any]], limit: int
) -> list[str]:
    """Ids of at most `limit` traces (a negative one: all) whose spans have the words, best first.

    `condition` is SQL on the root span `s`, with its parameters.
    """
    expression = match_expression(text)
    index_waiting(store)
    waiting = waiting_with(store, expression) if store.read_only else []
    floor = 0
    if order == "relevance":
        newest = store.row(
            "SELECT min(rowid) FROM (SELECT rowid FROM spans_text WHERE spans_text MATCH ? "
            f"ORDER BY rowid DESC LIMIT {RANKED_AMONG})",
            (expression,),
        )
        floor = newest[0] or 0 if newest else 0
    weight, by = ("bm25(spans_text)", "weight") if order == "relevance" else ("0", "hit DESC")
    hits = (
        f"SELECT rowid AS hit, {weight} AS weight FROM spans_text "
        "WHERE spans_text MATCH ? AND rowid >= ?"
    )
    if waiting:
        hits += f" UNION ALL SELECT id, 0 FROM spans WHERE id IN ({','.join(map(str, waiting))})"
    elif order == "newest":
        hits += " ORDER BY rowid DESC"
    where, parameters = condition
    sql = (
        f"SELECT r.trace_id FROM ({hits}) h JOIN spans r ON r.id = h.hit "
        "JOIN spans s ON s.trace_id = r.trace_id AND s.parent_id IS NULL "
        f"WHERE 1 {where} ORDER BY {by}"
    )
    return store.distinct(sql, (expression, floor, *parameters), limit)


def index_waiting(store: Store) -> None:
    """Bring the index up to date, where the store can be written."""
    if not store.read_only and store.row("SELECT 1 FROM unindexed LIMIT 1"):
        with store.write() as conn:
            index_pending(conn)


def waiting_with(store: Store, expression: str) -> list[int]:
    """Finished spans with the words that are not in the index yet, where it cannot be brought up."""
    conn = store.read()
    with closing(sqlite3.connect(":memory:")) as index:
        index.execute(INDEX.format("spans_text"))
        for (row,) in store.rows("SELECT id FROM unindexed"):
            index.execute(
                "INSERT INTO spans_text(rowid, input, output) VALUES (?, ?, ?)",
                (row, *_texts_of(conn, row)),
            )
        found = index.execute(
            "SELECT rowid FROM spans_text WHERE spans_text MATCH ?", (expression,)
        )
        return [int(row) for (row,) in found]
