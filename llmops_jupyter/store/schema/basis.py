"""What every stage stands on: settings, spans, messages, search, scores."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m001_settings(conn: sqlite3.Connection) -> None:
    """Small values that belong to the workspace, such as its default model, as JSON by key."""
    run(conn, "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")


def m002_spans(conn: sqlite3.Connection) -> None:
    """One wide row for each span, so that the newest traces are read without a join.

    `id` grows with the start of the span, which makes "newest first" a walk along the primary key.
    The columns that people filter by stand on their own; all else is in `attributes`, under
    OpenTelemetry's names of the release in `schema_url`. A span is written when it opens, with the
    process that owns it, so that one left open by a dead process can be told from a running one;
    `partial` holds the answer so far. There are few indexes, since each costs a page a commit: the open
    spans of a dead process are found by walking from its `first_span`, once, after which it is `swept`.
    """
    run(
        conn,
        "CREATE TABLE processes (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, started REAL NOT NULL, "
        "host TEXT NOT NULL, boot TEXT NOT NULL, first_seen TEXT NOT NULL, "
        "first_span INTEGER NOT NULL, swept INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
        """CREATE TABLE spans (
            id INTEGER PRIMARY KEY,
            trace_id TEXT NOT NULL,
            span_id TEXT NOT NULL,
            parent_id TEXT,
            session TEXT,
            name TEXT NOT NULL,
            op TEXT NOT NULL,
            kind TEXT NOT NULL,
            start_ns INTEGER NOT NULL,
            end_ns INTEGER,
            first_token_ns INTEGER,
            status TEXT NOT NULL,
            error_type TEXT,
            error_message TEXT,
            provider TEXT,
            model TEXT,
            model_digest TEXT,
            prompt_name TEXT,
            prompt_version INTEGER,
            seed INTEGER,
            input_tokens INTEGER,
            output_tokens INTEGER,
            cached_tokens INTEGER,
            cost REAL,
            energy_j REAL,
            notebook TEXT,
            cell_id TEXT,
            execution_count INTEGER,
            kernel_id TEXT,
            process_id TEXT NOT NULL REFERENCES processes(id),
            input_message TEXT,
            output_message TEXT,
            partial TEXT,
            attributes TEXT NOT NULL,
            schema_url TEXT NOT NULL
        )""",
        "CREATE INDEX spans_by_trace ON spans(trace_id)",
        "CREATE INDEX spans_by_prompt ON spans(prompt_name, prompt_version) "
        "WHERE prompt_name IS NOT NULL AND parent_id IS NULL",
        "CREATE INDEX spans_by_session ON spans(session) "
        "WHERE session IS NOT NULL AND parent_id IS NULL",
    )


def m003_messages(conn: sqlite3.Connection) -> None:
    """Messages are kept once, by the hash of their parent and their own content.

    A span points at the last message that went in and the one that came out; the chain of parents is
    the conversation, so a system prompt shared by a thousand traces is one row.
    """
    run(
        conn,
        "CREATE TABLE messages (hash TEXT PRIMARY KEY, parent TEXT, role TEXT NOT NULL, "
        "parts TEXT NOT NULL) WITHOUT ROWID",
    )


def m004_search(conn: sqlite3.Connection) -> None:
    """Full text of what went in and came out, by span.

    The index keeps no copy of the text (`content=''`): it is read from the messages again. Row ids are
    the spans' own, so the newest hits come first without sorting. Finished spans wait in `unindexed`
    and enter the index many at a time, at the latest before a search: a commit of its own for each would
    cost more than all else that a trace writes.
    """
    run(
        conn,
        "CREATE VIRTUAL TABLE spans_text USING fts5(input, output, content='', "
        'tokenize="unicode61 remove_diacritics 2")',
        "CREATE TABLE unindexed (id INTEGER PRIMARY KEY)",
    )


def m005_scores(conn: sqlite3.Connection) -> None:
    """Scores from code, judges and people in one table, with their source.

    A later score by the same source and identifier replaces the earlier one by clearing its `valid`;
    nothing is deleted.
    """
    run(
        conn,
        """CREATE TABLE scores (
            id INTEGER PRIMARY KEY,
            trace_id TEXT NOT NULL,
            span_id TEXT,
            name TEXT NOT NULL,
            value REAL,
            label TEXT,
            explanation TEXT,
            source TEXT NOT NULL CHECK (source IN ('code', 'judge', 'human')),
            identifier TEXT NOT NULL DEFAULT '',
            at TEXT NOT NULL,
            valid INTEGER NOT NULL DEFAULT 1
        )""",
        "CREATE INDEX scores_by_trace ON scores(trace_id)",
        "CREATE INDEX scores_by_name ON scores(name, label)",
    )


def m012_parents(conn: sqlite3.Connection) -> None:
    """A model that was made from another one, such as a quantised copy, keeps that one's hash.

    The hash and not the name, since it says from which weights, whatever they are called now.
    """
    run(conn, "ALTER TABLE models ADD COLUMN parent TEXT NOT NULL DEFAULT ''")


def m013_messages_in_order(conn: sqlite3.Connection) -> None:
    """Messages lie in the order in which they came, and an index leads from the hash to them.

    Without a row id they lay in the order of their hash: each one changed a page somewhere in the file,
    and one of more than 1,000 bytes took a page of its own for what did not fit, however little that
    was. In order they fill their pages, and a new one changes the last page and one of a small index.
    """
    run(
        conn,
        "ALTER TABLE messages RENAME TO messages_by_hash",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, parent TEXT, "
        "role TEXT NOT NULL, parts TEXT NOT NULL)",
        "INSERT INTO messages(hash, parent, role, parts) "
        "SELECT hash, parent, role, parts FROM messages_by_hash",
        "DROP TABLE messages_by_hash",
    )
