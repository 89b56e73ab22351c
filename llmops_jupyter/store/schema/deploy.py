"""Releases, what is live of them, and pipelines."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m028_deployments(conn: sqlite3.Connection) -> None:
    """Releases of deployments, their slots, the log of who moved what, and pipelines with their steps and logs.

    A release is a bundle under the next number of its deployment; `folder` is relative to the store's own folder where
    the bundle lies in it, so that a copied project finds it. `deployments` has one row a deployment: which release is
    live, staged, and canary with its share of the units. `changed` counts every move: who promotes says at which count
    it looked, so that of two at once one wins, and a serving process sees by one number that something moved. `salt` decides
    which units a canary gets, and is another one for each canary. `deployment_log` is appended to and never rewritten;
    `evidence`, `rules` and `actor` are JSON. Steps of a pipeline keep the key of what went into them, so that a run that was
    broken off goes on where it stopped; their lines are rows of their own, written as they come.
    """
    run(
        conn,
        """CREATE TABLE deployment_releases (
            id INTEGER PRIMARY KEY,
            deployment TEXT NOT NULL,
            number INTEGER NOT NULL,
            digest TEXT NOT NULL,
            folder TEXT NOT NULL,
            manifest TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (deployment, number),
            UNIQUE (deployment, digest)
        )""",
        "CREATE TABLE deployments (name TEXT PRIMARY KEY, live INTEGER, staged INTEGER, canary INTEGER, "
        "weight REAL NOT NULL DEFAULT 0, salt TEXT NOT NULL DEFAULT '', rules TEXT NOT NULL DEFAULT '', "
        "changed INTEGER NOT NULL DEFAULT 0, changed_at TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE deployment_log (
            id INTEGER PRIMARY KEY,
            deployment TEXT NOT NULL,
            action TEXT NOT NULL,
            slot TEXT NOT NULL,
            number INTEGER,
            previous INTEGER,
            weight REAL,
            at TEXT NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            evidence TEXT NOT NULL DEFAULT '{}'
        )""",
        "CREATE INDEX deployment_log_by_name ON deployment_log(deployment, id)",
        "CREATE TRIGGER deployment_log_keeps_rows BEFORE DELETE ON deployment_log "
        "BEGIN SELECT RAISE(ABORT, 'the deployment log is append-only'); END",
        "CREATE TRIGGER deployment_log_keeps_content BEFORE UPDATE ON deployment_log "
        "BEGIN SELECT RAISE(ABORT, 'the deployment log is append-only'); END",
        """CREATE TABLE pipeline_runs (
            id INTEGER PRIMARY KEY,
            deployment TEXT NOT NULL,
            content_hash TEXT NOT NULL,
            content TEXT NOT NULL,
            status TEXT NOT NULL,
            actor TEXT NOT NULL,
            process_id TEXT NOT NULL,
            started_at TEXT NOT NULL,
            finished_at TEXT
        )""",
        "CREATE INDEX pipeline_runs_by_name ON pipeline_runs(deployment, id)",
        """CREATE TABLE pipeline_steps (
            id INTEGER PRIMARY KEY,
            run_id INTEGER NOT NULL REFERENCES pipeline_runs(id),
            deployment TEXT NOT NULL,
            step TEXT NOT NULL,
            key TEXT NOT NULL,
            status TEXT NOT NULL,
            result TEXT NOT NULL DEFAULT '{}',
            error TEXT NOT NULL DEFAULT '',
            started_at TEXT NOT NULL,
            finished_at TEXT,
            UNIQUE (run_id, step)
        )""",
        "CREATE INDEX pipeline_steps_by_key ON pipeline_steps(deployment, step, key)",
        "CREATE TABLE pipeline_lines (id INTEGER PRIMARY KEY, step_id INTEGER NOT NULL "
        "REFERENCES pipeline_steps(id), at TEXT NOT NULL, line TEXT NOT NULL)",
        "CREATE INDEX pipeline_lines_by_step ON pipeline_lines(step_id, id)",
    )
