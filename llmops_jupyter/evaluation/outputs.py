"""Answers that were recorded: the same variant on the same row is not computed again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from llmops_jupyter.prompts.journal import completion_from_json, completion_to_json, settings_key
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.records import Completion
from llmops_jupyter.tracing import Tracer

# SQLite before 3.32 takes 999 values in one statement.
STEP = 900


class Recorded:
    """The answers of one run; what a map keeps its finished rows in (`prompts.journal.Kept`).

    Each is in the store as soon as it is there, under a key of all that decides it.

    Args:
        tracer: of the workspace.
        keys: of each position.
        fresh: take no answer that was recorded before; those stay, under another key.
    """

    def __init__(self, tracer: Tracer, keys: Sequence[str], *, fresh: bool = False) -> None:
        self.tracer = tracer
        self.keys = list(keys)
        self.done: dict[int, Completion] = {}
        self.ids: dict[int, int] = {}
        if fresh:
            return
        for position, row in self._found():
            self.ids[position] = row["id"]
            self.done[position] = completion_from_json(row["completion"])

    def keep(self, position: int, done: Completion) -> None:
        self.keep_all([(position, done)])

    def keep_all(self, pairs: Sequence[tuple[int, Completion]]) -> None:
        """Keep several in one transaction."""
        clean, store = self.tracer.clean, self.tracer.store
        with store.write() as conn:
            for position, done in pairs:
                key = self.keys[position]
                _set_aside(conn, key)
                cursor = conn.execute(
                    "INSERT INTO evaluation_outputs(key, trace_id, completion, at) VALUES (?, ?, ?, ?)",
                    (key, done.trace_id, completion_to_json(done, clean), store.now()),
                )
                self.ids[position] = int(cursor.lastrowid or 0)
                self.done[position] = done

    def finish(self) -> None:
        """Nothing is left to do: what is kept stays."""

    def _found(self) -> Iterator[tuple[int, sqlite3.Row]]:
        places: dict[str, list[int]] = {}
        for position, key in enumerate(self.keys):
            places.setdefault(key, []).append(position)
        keys = list(places)
        for begin in range(0, len(keys), STEP):
            some = keys[begin : begin + STEP]
            for row in self.tracer.store.rows(
                "SELECT id, key, completion FROM evaluation_outputs "
                f"WHERE key IN ({','.join('?' * len(some))})",
                tuple(some),
            ):
                for position in places[row["key"]]:
                    yield position, row


def _set_aside(conn: sqlite3.Connection, key: str) -> None:
    conn.execute("UPDATE evaluation_outputs SET key = key || '#' || id WHERE key = ?", (key,))


def output_key(variant_key: str, row: str, repetition: int) -> str:
    """What decides an answer: the variant, what the row makes of it, and which repetition it is."""
    return hashlib.sha256(f"{variant_key}\n{row}\n{repetition}".encode()).hexdigest()


def keeper(
    tracer: Tracer,
    repetitions: Sequence[int],
    *,
    fresh: bool,
    made: Callable[[str, Recorded], None],
) -> Callable[[Prepared, Sequence[str]], Recorded]:
    """What `prompts.map` makes its store of finished rows with; `made` gets the variant's key and it."""

    def keep(first: Prepared, rows: Sequence[str]) -> Recorded:
        key = settings_key(first)
        keys = [output_key(key, row, n) for row, n in zip(rows, repetitions, strict=True)]
        recorded = Recorded(tracer, keys, fresh=fresh)
        made(key, recorded)
        return recorded

    return keep
