"""Changing what kept spans and messages say, where something in them must go."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from llmops_jupyter.records import Message
from llmops_jupyter.tracing.messages import message_of, parts_of
from llmops_jupyter.tracing.search import enqueue, unindex_span

# Gets role and text of a message, or '' and a text of an attribute; returns what it is to say.
Change = Callable[[str, str], str]


def rewrite_messages(conn: sqlite3.Connection, spans: Iterable[int], change: Change) -> int:
    """Have the messages of these spans say what `change` makes of them; how many are other now.

    Their hashes stay, so that spans and later messages find them; what others share with these spans changes there
    too, in the search index as well. Arguments of calls are changed text by text.
    """
    parents: dict[str, str | None] = {}
    children: dict[str, list[str]] = defaultdict(list)
    for row in conn.execute("SELECT hash, parent FROM messages"):
        parents[row["hash"]] = row["parent"]
        if row["parent"] is not None:
            children[row["parent"]].append(row["hash"])
    changed: dict[str, str] = {}
    for digest in _reached(conn, spans, parents):
        row = conn.execute("SELECT role, parts FROM messages WHERE hash = ?", (digest,)).fetchone()
        message = message_of(row["role"], json.loads(row["parts"]))
        said = _changed(message, change)
        if said != message:
            changed[digest] = json.dumps(parts_of(said), ensure_ascii=False)
    touched = _spans_of(conn, changed, children)
    for span in touched:
        unindex_span(conn, span)
    for digest, parts in changed.items():
        conn.execute("UPDATE messages SET parts = ? WHERE hash = ?", (parts, digest))
    for span in touched:
        enqueue(conn, span)
    if changed:
        # Until its parts are merged, the index keeps what has been deleted from it.
        conn.execute("INSERT INTO spans_text(spans_text) VALUES ('optimize')")
    return len(changed)


def rewrite_attributes(
    conn: sqlite3.Connection, spans: Iterable[int], change: Callable[[dict[str, Any]], Any]
) -> None:
    """Have the attributes of these spans be what `change` makes of them, in the search index too."""
    for span in spans:
        row = conn.execute("SELECT attributes FROM spans WHERE id = ?", (span,)).fetchone()
        facts = json.loads(row["attributes"])
        made = change(facts)
        if made != facts:
            unindex_span(conn, span)
            conn.execute(
                "UPDATE spans SET attributes = ?, partial = NULL WHERE id = ?",
                (json.dumps(made, ensure_ascii=False), span),
            )
            enqueue(conn, span)


def changed_texts(value: Any, change: Change) -> Any:
    """JSON values with each text changed."""
    if isinstance(value, str):
        return change("", value)
    if isinstance(value, list):
        return [changed_texts(v, change) for v in value]
    if isinstance(value, dict):
        return {k: changed_texts(v, change) for k, v in value.items()}
    return value


def _changed(message: Message, change: Change) -> Message:
    calls = tuple(
        replace(call, arguments=changed_texts(call.arguments, change))
        for call in message.tool_calls
    )
    return replace(message, content=change(message.role, message.content), tool_calls=calls)


def _reached(
    conn: sqlite3.Connection, spans: Iterable[int], parents: dict[str, str | None]
) -> list[str]:
    """The messages of these spans, with all that came before them."""
    found: dict[str, None] = {}
    for span in spans:
        row = conn.execute(
            "SELECT input_message, output_message FROM spans WHERE id = ?", (span,)
        ).fetchone()
        for last in row:
            digest = last
            while digest is not None and digest in parents and digest not in found:
                found[digest] = None
                digest = parents[digest]
    return list(found)


def _spans_of(
    conn: sqlite3.Connection, changed: dict[str, str], children: dict[str, list[str]]
) -> list[int]:
    """Spans whose conversation holds one of these messages."""
    reached: set[str] = set()
    waiting = list(changed)
    while waiting:
        digest = waiting.pop()
        if digest not in reached:
            reached.add(digest)
            waiting += children[digest]
    rows = conn.execute("SELECT id, input_message, output_message FROM spans")
    return [row[0] for row in rows if row[1] in reached or row[2] in reached]
