"""Measurements of servers under load."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m030_load_runs(conn: sqlite3.Connection) -> None:
    """What servers did under load: a row a measurement.

    `result` is JSON in the form that `--file` writes, so that one that was measured elsewhere is no other; what it is looked
    up by stands beside it in columns. It holds no texts: prompts and answers are not kept, only their tokens and times.
    """
    run(
        conn,
        "CREATE TABLE load_runs (id INTEGER PRIMARY KEY, target TEXT NOT NULL, url TEXT NOT NULL, "
        "model TEXT NOT NULL, status TEXT NOT NULL, started_at TEXT NOT NULL, result TEXT NOT NULL)",
        "CREATE INDEX load_runs_by_target ON load_runs(target, id)",
    )
