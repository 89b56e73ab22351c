"""Policies of guards."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m021_policies(conn: sqlite3.Connection) -> None:
    """Guard policies by content, as the text that the user wrote.

    The hash is of what decides (checks, options, thresholds, actions, message), so that a comment makes no version. What
    comes with the package is not here: it is version 0 of its name.
    """
    run(
        conn,
        "CREATE TABLE policies (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "content_hash TEXT NOT NULL, content TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', "
        "created_at TEXT NOT NULL, UNIQUE (name, version), UNIQUE (name, content_hash))",
    )
