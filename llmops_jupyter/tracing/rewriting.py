"""Changing what kept messages say, where something in them must go."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from llmops_jupyter.tracing.messages import message_of, parts_of
from llmops_jupyter.tracing.search import enqueue, unindex_span

# Gets role and text of a message; returns what it is to say.
Change = Callable[[str, str], str]


def rewrite_messages(conn: sqlite3.Connection, change: Change) -> int:
    """Have each message say what `change` makes of it, in the search index too; how many are other now.

    Their hashes stay, so that spans and later messages find them.
    """
    changed: dict[str, str] = {}
    children: dict[str, list[str]] = defaultdict(list)
    for row in conn.execute("SELECT hash, parent, role, parts FROM messages"):
        if row["parent"] is not None:
            children[row["parent"]].append(row["hash"])
        message = message_of(row["role"], json.loads(row["parts"]))
        said = change(message.role, message.content)
        if said != message.content:
            changed[row["hash"]] = json.dumps(
                parts_of(replace(message, content=said)), ensure_ascii=False
            )
    spans = _spans_of(conn, changed, children)
    for span in spans:
        unindex_span(conn, span)
    for digest, parts in changed.items():
        conn.execute("UPDATE messages SET parts = ? WHERE hash = ?", (parts, digest))
    for span in spans:
        enqueue(conn, span)
    if changed:
        # Until its parts are merged, the index keeps what has been deleted from it.
        conn.execute("INSERT INTO spans_text(spans_text) VALUES ('optimize')")
    return len(changed)


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
