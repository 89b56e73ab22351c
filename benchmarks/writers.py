"""Writing traces of two spans: ours and plain SQLite. As a program: ours in a process of its own.

`python -m benchmarks.writers FOLDER COUNT SEED` prints the id of each trace once its call has returned.
"""

from __future__ import annotations

import sqlite3
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.payload import exchanges


def write_ours(ws: Any, asked: str, made: str) -> str:
    """A trace as `ws.prompts.run` makes it: the interaction and, inside it, the call of the model."""
    from llmops_jupyter import Message, Usage

    messages = (Message("user", asked),)
    with ws.tracer.span("prompt", op="invoke_workflow", messages=messages) as root:
        with ws.tracer.span("chat", op="chat", messages=messages, model="smollm2") as chat:
            chat.output(made)
            chat.usage(Usage(300, 300))
        root.output(made)
    return root.trace_id


class Plain:
    """The least that keeps such a trace and finds its text: one commit a trace, no Python layer."""

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None)
        self._conn.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE spans(id INTEGER PRIMARY KEY, trace_id TEXT, parent INTEGER, name TEXT,"
            " start_ns INTEGER, end_ns INTEGER, status TEXT, input TEXT, output TEXT);"
            "CREATE INDEX spans_by_trace ON spans(trace_id);"
            "CREATE VIRTUAL TABLE spans_text USING fts5(input, output, content='');"
        )

    def write(self, asked: str, made: str) -> str:
        trace_id, now = uuid.uuid4().hex, time.time_ns()
        insert = "INSERT INTO spans VALUES (NULL, ?, ?, ?, ?, ?, 'ok', ?, ?)"
        run = self._conn.execute
        run("BEGIN IMMEDIATE")
        root = run(insert, (trace_id, None, "prompt", now, now, asked, made)).lastrowid
        run(insert, (trace_id, root, "chat", now, now, asked, made))
        run("INSERT INTO spans_text(rowid, input, output) VALUES (?, ?, ?)", (root, asked, made))
        run("COMMIT")
        return trace_id

    def close(self) -> None:
        self._conn.close()


def complete(path: Path) -> set[str]:
    """Ids of our traces that a new connection finds whole: both spans ended, with their texts."""
    return _query(
        path,
        "SELECT s.trace_id FROM spans s JOIN messages i ON i.hash = s.input_message "
        "JOIN messages o ON o.hash = s.output_message WHERE s.status = 'ok' "
        "GROUP BY s.trace_id HAVING count(*) = 2",
    )


def complete_plain(path: Path) -> set[str]:
    return _query(path, "SELECT trace_id FROM spans GROUP BY trace_id HAVING count(*) = 2")


def complete_mlflow(path: Path) -> set[str]:
    return _query(
        path,
        "SELECT s.trace_id FROM spans s JOIN trace_info t ON t.request_id = s.trace_id "
        "WHERE t.status = 'OK' AND s.status = 'OK' GROUP BY s.trace_id HAVING count(*) = 2",
    )


def _query(path: Path, sql: str) -> set[str]:
    conn = sqlite3.connect(path, timeout=60)
    try:
        return {row[0] for row in conn.execute(sql)}
    finally:
        conn.close()


def main() -> None:
    import llmops_jupyter as lo

    folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with lo.open(folder) as ws:
        for asked, made in exchanges(count, seed):
            print(write_ours(ws, asked, made), flush=True)


if __name__ == "__main__":
    main()
