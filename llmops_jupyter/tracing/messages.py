"""Messages kept once, by content and parent."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import cast

from llmops_jupyter.records import ROLES, Message, Role

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def clean(text: str) -> str:
    """Text that SQLite can hold: lone surrogates are written as their escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def store_messages(
    conn: sqlite3.Connection, messages: Iterable[Message], parent: str | None = None
) -> str | None:
    """Keep a chain of messages; returns the hash of the last one, or the parent if there are none."""
    for message in messages:
        content = _ENCODER.encode(clean(message.content))  # a text alone takes a short way through
        parts = f'[{{"type": "text", "content": {content}}}]'
        canonical = f"{parent or ''}\n{message.role}\n{parts}".encode()
        digest = hashlib.blake2b(canonical, digest_size=16).hexdigest()
        conn.execute(
            "INSERT OR IGNORE INTO messages(hash, parent, role, parts) VALUES (?, ?, ?, ?)",
            (digest, parent, message.role, parts),
        )
        parent = digest
    return parent


def load_messages(
    conn: sqlite3.Connection, last: str | None, stop: str | None = None
) -> tuple[Message, ...]:
    """The chain that ends at `last`, oldest first, without what lies at `stop` and before."""
    found: list[Message] = []
    while last is not None and last != stop:
        row = conn.execute(
            "SELECT parent, role, parts FROM messages WHERE hash = ?", (last,)
        ).fetchone()
        if row is None:
            break
        text = "".join(p.get("content", "") for p in json.loads(row[2]))
        role = row[1] if row[1] in ROLES else "user"
        found.append(Message(cast("Role", role), text))
        last = row[0]
    return tuple(reversed(found))
