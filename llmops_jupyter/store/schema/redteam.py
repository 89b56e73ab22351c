"""Runs of attacks on prompts."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m025_redteam(conn: sqlite3.Connection) -> None:
    """Red-team runs with their attempts, so that a later run can be compared with them attack by attack.

    Attempts are one JSON text, since they are only ever read together; `facts` is what a list shows. The answers
    themselves belong to the evaluation runs in `runs`, which go on where they were broken off.
    """
    run(
        conn,
        """CREATE TABLE redteam_runs (
            id INTEGER PRIMARY KEY,
            prompt TEXT NOT NULL,
            model TEXT NOT NULL,
            guard TEXT NOT NULL DEFAULT '',
            seed INTEGER NOT NULL,
            n INTEGER NOT NULL,
            facts TEXT NOT NULL,
            attempts TEXT NOT NULL,
            runs TEXT NOT NULL,
            at TEXT NOT NULL
        )""",
        "CREATE INDEX redteam_runs_by_prompt ON redteam_runs(prompt)",
    )
