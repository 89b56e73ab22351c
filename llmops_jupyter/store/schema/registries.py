"""Prompts, models, data sets, conversations, and runs over rows."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m006_prompts(conn: sqlite3.Connection) -> None:
    """Prompt versions by content; the settings last used are defaults and make no version."""
    run(
        conn,
        """CREATE TABLE prompt_versions (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            content_hash TEXT NOT NULL,
            content TEXT NOT NULL,
            defaults TEXT NOT NULL DEFAULT '{}',
            note TEXT NOT NULL DEFAULT '',
            notebook TEXT,
            cell_id TEXT,
            created_at TEXT NOT NULL,
            UNIQUE (name, version),
            UNIQUE (name, content_hash)
        )""",
    )


def m007_aliases(conn: sqlite3.Connection) -> None:
    """Aliases of prompts and models, and the append-only log that makes roll-back and audit possible."""
    run(
        conn,
        "CREATE TABLE aliases (kind TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL, "
        "version INTEGER NOT NULL, PRIMARY KEY (kind, name, alias)) WITHOUT ROWID",
        "CREATE TABLE alias_log (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, "
        "alias TEXT NOT NULL, version INTEGER, previous INTEGER, at TEXT NOT NULL, "
        "note TEXT NOT NULL DEFAULT '')",
        "CREATE TRIGGER alias_log_keeps_rows BEFORE DELETE ON alias_log "
        "BEGIN SELECT RAISE(ABORT, 'the alias log is append-only'); END",
        "CREATE TRIGGER alias_log_keeps_content BEFORE UPDATE ON alias_log "
        "BEGIN SELECT RAISE(ABORT, 'the alias log is append-only'); END",
    )


def m008_models(conn: sqlite3.Connection) -> None:
    """Models by name and content hash. The weights stay where they are; `path` points at them.

    A removed model keeps its row, since traces name it.
    """
    run(
        conn,
        """CREATE TABLE models (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            path TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            source TEXT NOT NULL,
            metadata TEXT NOT NULL,
            added_at TEXT NOT NULL,
            removed_at TEXT,
            UNIQUE (name, version)
        )""",
    )


def m009_datasets(conn: sqlite3.Connection) -> None:
    """Data sets by content. A row that several versions share is kept once."""
    run(
        conn,
        """CREATE TABLE datasets (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            content_hash TEXT NOT NULL,
            n_rows INTEGER NOT NULL,
            columns TEXT NOT NULL,
            source TEXT NOT NULL DEFAULT '',
            note TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            UNIQUE (name, version)
        )""",
        "CREATE TABLE dataset_rows (hash TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE dataset_items (dataset_id INTEGER NOT NULL REFERENCES datasets(id), "
        "position INTEGER NOT NULL, row_id TEXT NOT NULL, row_hash TEXT NOT NULL "
        "REFERENCES dataset_rows(hash), PRIMARY KEY (dataset_id, position)) WITHOUT ROWID",
    )


def m010_sessions(conn: sqlite3.Connection) -> None:
    """Conversations: turns in order, each with its trace; a fork remembers where it left its parent."""
    run(
        conn,
        "CREATE TABLE sessions (name TEXT PRIMARY KEY, parent TEXT, forked_at INTEGER, "
        "created_at TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE session_turns (session TEXT NOT NULL REFERENCES sessions(name), "
        "position INTEGER NOT NULL, messages TEXT NOT NULL, trace_id TEXT NOT NULL, "
        "at TEXT NOT NULL, PRIMARY KEY (session, position)) WITHOUT ROWID",
    )


def m011_maps(conn: sqlite3.Connection) -> None:
    """Finished rows of a data-set run, until the run is complete, so that a killed one goes on."""
    run(
        conn,
        "CREATE TABLE map_runs (id INTEGER PRIMARY KEY, key TEXT NOT NULL, total INTEGER NOT NULL, "
        "process_id TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT)",
        "CREATE INDEX map_runs_unfinished ON map_runs(key) WHERE finished_at IS NULL",
        "CREATE TABLE map_rows (run_id INTEGER NOT NULL REFERENCES map_runs(id), "
        "position INTEGER NOT NULL, completion TEXT NOT NULL, PRIMARY KEY (run_id, position)) "
        "WITHOUT ROWID",
    )


def m014_rows_in_order(conn: sqlite3.Connection) -> None:
    """Rows of data sets lie in the order in which they came, for the reasons that messages do.

    The items are made anew with them, since they refer to the table of rows.
    """
    run(
        conn,
        "ALTER TABLE dataset_rows RENAME TO rows_by_hash",
        "ALTER TABLE dataset_items RENAME TO items_of_rows_by_hash",
        "CREATE TABLE dataset_rows (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, "
        "row TEXT NOT NULL)",
        "INSERT INTO dataset_rows(hash, row) SELECT hash, row FROM rows_by_hash",
        "CREATE TABLE dataset_items (dataset_id INTEGER NOT NULL REFERENCES datasets(id), "
        "position INTEGER NOT NULL, row_id TEXT NOT NULL, row_hash TEXT NOT NULL "
        "REFERENCES dataset_rows(hash), PRIMARY KEY (dataset_id, position)) WITHOUT ROWID",
        "INSERT INTO dataset_items SELECT dataset_id, position, row_id, row_hash "
        "FROM items_of_rows_by_hash",
        "DROP TABLE items_of_rows_by_hash",
        "DROP TABLE rows_by_hash",
    )


def m015_formats(conn: sqlite3.Connection) -> None:
    """A model may be an endpoint or an MLX folder instead of a GGUF file.

    An endpoint's row says in `endpoint` where it is and which model it means, as JSON; never a key.
    """
    run(
        conn,
        "ALTER TABLE models ADD COLUMN format TEXT NOT NULL DEFAULT 'gguf'",
        "ALTER TABLE models ADD COLUMN endpoint TEXT",
    )
