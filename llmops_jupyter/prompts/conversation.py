"""Conversations: earlier turns are sent along, cut to the context, listed and forked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmops_jupyter.errors import OptionError, PromptError, unknown_name
from llmops_jupyter.records import Message
from llmops_jupyter.store import Store, aliases

KIND = "session"


@dataclass(frozen=True)
class Turn:
    """What the user said and what the model answered, with the trace of it."""

    position: int
    messages: tuple[Message, ...]
    trace_id: str
    at: str


@dataclass(frozen=True)
class Conversation:
    """A named conversation; `parent` and `forked_at` say where it branched off."""

    name: str
    turns: int
    parent: str | None
    forked_at: int | None
    created_at: str
    last_at: str


class Sessions:
    """The conversations of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def list(self) -> list[Conversation]:
        """All conversations, the one spoken in last first."""
        rows = self.store.rows(
            "SELECT s.name, count(t.position), s.parent, s.forked_at, s.created_at, "
            "coalesce(max(t.at), s.created_at) AS last FROM sessions s "
            "LEFT JOIN session_turns t ON t.session = s.name GROUP BY s.name ORDER BY last DESC"
        )
        return [Conversation(*row) for row in rows]

    def turns(self, name: str) -> Sequence[Turn]:
        """The turns of a conversation, oldest first; none if it has not begun."""
        rows = self.store.rows(
            "SELECT position, messages, trace_id, at FROM session_turns WHERE session = ? "
            "ORDER BY position",
            (name,),
        )
        return [
            Turn(
                row["position"],
                tuple(Message.from_dict(m) for m in json.loads(row["messages"])),
                row["trace_id"],
                row["at"],
            )
            for row in rows
        ]

    def add(self, name: str, messages: Sequence[Message], trace_id: str) -> None:
        """Append a turn, beginning the conversation if need be."""
        aliases.check_name(KIND, name)
        text = json.dumps([m.as_dict() for m in messages], ensure_ascii=False)
        with self.store.write() as conn:
            now = self.store.now()
            conn.execute(
                "INSERT OR IGNORE INTO sessions(name, created_at) VALUES (?, ?)", (name, now)
            )
            conn.execute(
                "INSERT INTO session_turns(session, position, messages, trace_id, at) VALUES (?, "
                "(SELECT coalesce(max(position), 0) + 1 FROM session_turns WHERE session = ?), "
                "?, ?, ?)",
                (name, name, text, trace_id, now),
            )

    def fork(self, name: str, new: str, at: int | None = None) -> Conversation:
        """Begin a conversation with the first `at` turns of another (all, if not given)."""
        aliases.check_name(KIND, new)
        known = [c.name for c in self.list()]
        if name not in known:
            raise unknown_name(KIND, name, known, "%prompt sessions lists them.")
        if new in known:
            raise PromptError(f"The session {new!r} is there already. Choose another name.")
        total = len(self.turns(name))
        keep = total if at is None else at
        if not 0 <= keep <= total:
            raise OptionError(
                f"The session {name!r} has {total} turns; --at must lie in 0 to {total}."
            )
        with self.store.write() as conn:
            conn.execute(
                "INSERT INTO sessions(name, parent, forked_at, created_at) VALUES (?, ?, ?, ?)",
                (new, name, keep, self.store.now()),
            )
            conn.execute(
                "INSERT INTO session_turns(session, position, messages, trace_id, at) "
                "SELECT ?, position, messages, trace_id, at FROM session_turns "
                "WHERE session = ? AND position <= ?",
                (new, name, keep),
            )
        return next(c for c in self.list() if c.name == new)


def with_history(
    messages: Sequence[Message],
    turns: Sequence[Turn],
    count: Callable[[Sequence[Message]], int],
    room: int,
) -> tuple[tuple[Message, ...], int]:
    """The messages with earlier turns between system messages and what is asked now.

    The oldest turns are left out until `count` fits into `room` tokens. Returns the messages and how
    many turns were left out.
    """
    head = [m for m in messages if m.role == "system"]
    asked = [m for m in messages if m.role != "system"]
    low, high = 0, len(turns)

    def put(left_out: int) -> tuple[Message, ...]:
        earlier = [m for turn in turns[left_out:] for m in turn.messages if m.role != "system"]
        return (*head, *earlier, *asked)

    while low < high:
        middle = (low + high) // 2
        if count(put(middle)) <= room:
            high = middle
        else:
            low = middle + 1
    return put(low), low
