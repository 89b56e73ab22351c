"""Rules, what looks at them found, who was told what, golden sets, and which process watches."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m024_alerts(conn: sqlite3.Connection) -> None:
    """Rules with their looks, changes of state, marks of people and notices; golden sets with their runs.

    All are appended to and never rewritten, apart from `alert_standings`, where a rule stands now: what a look
    needs of the looks before it, and what a cell asks after each run, in one row a rule. A rule that is taken
    away is a last version that is `removed`. A silence, its end and an acknowledgement are marks with who, when
    and why. Looks may be many, so the index that finds those of a rule is theirs alone. `watchers` is the lease
    of the process that looks on a schedule: one a store, `beat` counts up while it lives, since a wall clock may
    go back. A golden run that was a comparison keeps its place among the looks that share the error (`look`).
    """
    run(
        conn,
        "CREATE TABLE alert_rules (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "content TEXT NOT NULL, removed INTEGER NOT NULL DEFAULT 0, at TEXT NOT NULL, "
        "UNIQUE (name, version))",
        """CREATE TABLE alert_looks (
            id INTEGER PRIMARY KEY,
            rule TEXT NOT NULL,
            at TEXT NOT NULL,
            at_ns INTEGER NOT NULL,
            value REAL,
            low REAL,
            high REAL,
            n INTEGER NOT NULL,
            found TEXT NOT NULL,
            state TEXT NOT NULL,
            note TEXT NOT NULL,
            traces TEXT NOT NULL
        )""",
        "CREATE INDEX alert_looks_by_rule ON alert_looks(rule, id)",
        """CREATE TABLE alert_changes (
            id INTEGER PRIMARY KEY,
            rule TEXT NOT NULL,
            at TEXT NOT NULL,
            before TEXT NOT NULL,
            state TEXT NOT NULL,
            severity TEXT NOT NULL,
            reason TEXT NOT NULL,
            look_id INTEGER NOT NULL REFERENCES alert_looks(id)
        )""",
        "CREATE TABLE alert_standings (rule TEXT PRIMARY KEY, state TEXT NOT NULL, standing TEXT NOT NULL, "
        "change_id INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
        "CREATE TABLE alert_marks (id INTEGER PRIMARY KEY, rule TEXT NOT NULL, kind TEXT NOT NULL, "
        "at TEXT NOT NULL, until TEXT, who TEXT NOT NULL, why TEXT NOT NULL, change_id INTEGER NOT NULL)",
        "CREATE TABLE alert_notices (id INTEGER PRIMARY KEY, rule TEXT NOT NULL, change_id INTEGER NOT NULL, "
        "at TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, outcome TEXT NOT NULL, "
        "tries INTEGER NOT NULL, error TEXT NOT NULL)",
        "CREATE TABLE watchers (name TEXT PRIMARY KEY, owner TEXT NOT NULL, process_id TEXT NOT NULL, "
        "every_s REAL NOT NULL, since TEXT NOT NULL, beat INTEGER NOT NULL, beat_at TEXT NOT NULL, "
        "looked_at TEXT NOT NULL DEFAULT '') WITHOUT ROWID",
        "CREATE TABLE golden_sets (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "content TEXT NOT NULL, removed INTEGER NOT NULL DEFAULT 0, at TEXT NOT NULL, "
        "UNIQUE (name, version))",
        """CREATE TABLE golden_runs (
            id INTEGER PRIMARY KEY,
            golden TEXT NOT NULL,
            version INTEGER NOT NULL,
            at TEXT NOT NULL,
            run_id INTEGER NOT NULL REFERENCES evaluation_runs(id),
            reference_id INTEGER NOT NULL REFERENCES evaluation_runs(id),
            look INTEGER NOT NULL,
            results TEXT NOT NULL
        )""",
        "CREATE INDEX golden_runs_by_name ON golden_runs(golden, id)",
    )


def m027_waiting_notices(conn: sqlite3.Connection) -> None:
    """A notice is kept before it is sent, with what it says and where to, until it was delivered or given up.

    It is written with the change that it tells of, so that none is lost when a process ends: `process_id` is the process
    that sends it, and another one takes it over when that has ended (`takes`). Once it is delivered, its row says how that
    went, and the text and the address are cleared. The index has only what waits.
    """
    run(
        conn,
        "ALTER TABLE alert_notices ADD COLUMN target TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE alert_notices ADD COLUMN body TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE alert_notices ADD COLUMN process_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE alert_notices ADD COLUMN takes INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX alert_notices_waiting ON alert_notices(id) WHERE outcome = 'waiting'",
    )
