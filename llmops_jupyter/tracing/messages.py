"""Messages kept once, by content and parent."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from llmops_jupyter.records import ROLES, Message, Role, ToolCall

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
        if message.tool_calls or message.tool_call_id:
            parts = clean(_ENCODER.encode(parts_of(message)))
        else:
            content = _ENCODER.encode(clean(message.content))  # a text alone takes a short way
            parts = f'[{{"type": "text", "content": {content}}}]'
        canonical = f"{parent or ''}\n{message.role}\n{parts}".encode()
        digest = hashlib.blake2b(canonical, digest_size=16).hexdigest()
        conn.execute(
            "INSERT OR IGNORE INTO messages(hash, parent, role, parts) VALUES (?, ?, ?, ?)",
            (digest, parent, message.role, parts),
        )
        parent = digest
    return parent


def parts_of(message: Message) -> list[dict[str, Any]]:
    """OpenTelemetry's parts of a message."""
    text = message.content
    if message.tool_call_id:
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": text}]
    parts: list[dict[str, Any]] = [{"type": "text", "content": text}] if text else []
    return parts + [{"type": "tool_call", **call.as_dict()} for call in message.tool_calls]


def message_of(role: str, parts: list[dict[str, Any]]) -> Message:
    """The message that OpenTelemetry's parts make."""
    text, calls, answers = "", [], ""
    for part in parts:
        kind = part.get("type")
        if kind == "tool_call":
            calls.append(ToolCall(part["id"], part["name"], part["arguments"]))
        elif kind == "tool_call_response":
            answers, text = part["id"], part["response"]
        else:
            text += part.get("content", "")
    known: Role = role if role in ROLES else "user"
    return Message(known, text, tuple(calls), answers)


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
        found.append(message_of(row[1], json.loads(row[2])))
        last = row[0]
    return tuple(reversed(found))
