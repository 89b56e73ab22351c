"""Baselines of what is watched, what checks against them came to, and streams that go on in another kernel."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m023_baselines(conn: sqlite3.Connection) -> None:
    """Rows of normal traffic, frozen as versions; checks and streams that are measured against them.

    `content` holds features, texts and vectors of the rows that are kept, compressed, so that a baseline
    outlives the traces it was made from. `filters` says which traces those were, so that a check looks at the
    same kind, and `place` is the last span that was looked at, so that it looks at later ones. What a baseline
    says of its own false alarms and of power takes seconds to measure and is kept by size of the window and
    settings. A stream's `state` is small, and `place` is the last span that it has taken in.
    """
    run(
        conn,
        """CREATE TABLE monitor_baselines (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            content_hash TEXT NOT NULL,
            filters TEXT NOT NULL,
            source TEXT NOT NULL,
            n_rows INTEGER NOT NULL,
            n_sessions INTEGER NOT NULL,
            seen INTEGER NOT NULL,
            place INTEGER NOT NULL,
            features TEXT NOT NULL,
            embedder TEXT NOT NULL,
            embedder_digest TEXT NOT NULL,
            content BLOB NOT NULL,
            note TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            UNIQUE (name, version)
        )""",
        "CREATE TABLE monitor_calibrations (baseline_id INTEGER NOT NULL REFERENCES "
        "monitor_baselines(id), key TEXT NOT NULL, result TEXT NOT NULL, at TEXT NOT NULL, "
        "PRIMARY KEY (baseline_id, key)) WITHOUT ROWID",
        "CREATE TABLE monitor_reports (id INTEGER PRIMARY KEY, baseline_id INTEGER NOT NULL "
        "REFERENCES monitor_baselines(id), alarm INTEGER NOT NULL, n_rows INTEGER NOT NULL, "
        "result TEXT NOT NULL, at TEXT NOT NULL)",
        "CREATE INDEX monitor_reports_by_baseline ON monitor_reports(baseline_id)",
        """CREATE TABLE monitor_streams (
            id INTEGER PRIMARY KEY,
            baseline_id INTEGER NOT NULL REFERENCES monitor_baselines(id),
            name TEXT NOT NULL,
            level REAL NOT NULL,
            place INTEGER NOT NULL,
            state BLOB NOT NULL,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            UNIQUE (baseline_id, name)
        )""",
    )


def m026_ids_that_stay_gone(conn: sqlite3.Connection) -> None:
    """The id of a baseline that was removed is never given to another one.

    Objects in a kernel, such as a stream, outlive the baseline that they are of; they know it by its id, and
    would read and write what belongs to the next one. A table cannot be altered to number like that, and one
    that others refer to cannot be dropped, so these are made anew as well; a new name is followed by what
    refers to it.
    """
    parent, key = "monitor_baselines", "id INTEGER PRIMARY KEY"
    for name in (parent, "monitor_calibrations", "monitor_reports", "monitor_streams"):
        made = conn.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        if name == parent:
            made = made.replace(key, f"{key} AUTOINCREMENT")
        made = made.replace(parent, f"{parent}_anew").replace(
            f"TABLE {name} ", f"TABLE {name}_anew "
        )
        run(conn, made, f"INSERT INTO {name}_anew SELECT * FROM {name}")
        if name != parent:
            run(conn, f"DROP TABLE {name}", f"ALTER TABLE {name}_anew RENAME TO {name}")
    run(
        conn,
        f"DROP TABLE {parent}",
        f"ALTER TABLE {parent}_anew RENAME TO {parent}",
        "CREATE INDEX monitor_reports_by_baseline ON monitor_reports(baseline_id)",
    )
