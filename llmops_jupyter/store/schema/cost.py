"""What calls take, and budgets."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m022_cost(conn: sqlite3.Connection) -> None:
    """What a span took of the machine, and budgets with what was used of them.

    The figures are columns, since sums over a million spans must not read attributes. `shared` says that the
    seconds are shares of steps which other rows ran in, `energy_source` whether a counter or a program gave
    the joules; together they say how far a sum can be trusted.

    A budget that changes gets a new version and keeps its `account`, so that what was used stays used. Usage is
    kept by the minute, and so is as long as time and not as the calls are many; it does not go when traces are
    deleted. A reservation is what a running call may still use: while it stands, other processes do not hand
    the same out again. `rate` is what the call uses a second, for limits that only time tells. Reservations of
    processes that have died are dropped by whoever asks next.
    """
    run(
        conn,
        "ALTER TABLE spans ADD COLUMN busy_s REAL",
        "ALTER TABLE spans ADD COLUMN cpu_s REAL",
        "ALTER TABLE spans ADD COLUMN peak_bytes INTEGER",
        "ALTER TABLE spans ADD COLUMN shared INTEGER",
        "ALTER TABLE spans ADD COLUMN energy_source TEXT",
        "CREATE TABLE budgets (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "definition TEXT NOT NULL, account TEXT NOT NULL, created_at TEXT NOT NULL, ended_at TEXT, "
        "UNIQUE (name, version))",
        "CREATE UNIQUE INDEX budgets_in_force ON budgets(name) WHERE ended_at IS NULL",
        "CREATE TABLE budget_usage (account TEXT NOT NULL, unit TEXT NOT NULL, minute INTEGER NOT NULL, "
        "used REAL NOT NULL, PRIMARY KEY (account, unit, minute)) WITHOUT ROWID",
        "CREATE TABLE budget_reservations (call TEXT NOT NULL, account TEXT NOT NULL, unit TEXT NOT NULL, "
        "amount REAL NOT NULL, rate REAL NOT NULL, started REAL NOT NULL, "
        "process_id TEXT NOT NULL REFERENCES processes(id), PRIMARY KEY (call, account, unit)) "
        "WITHOUT ROWID",
    )
