"""The store's schema, as an ordered list of steps that are never rewritten.

Each step is a function whose docstring says why the tables look as they do. The number of steps that
a file has seen is its `user_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_jupyter.errors import StoreCorruptError, StoreError, StoreVersionError
from llmops_jupyter.store.faults import explain
from llmops_jupyter.store.location import make_private

if TYPE_CHECKING:
    from llmops_jupyter.store.connection import Store

APPLICATION_ID = 0x4C4C4D4F
Migration = Callable[[sqlite3.Connection], None]


def _run(conn: sqlite3.Connection, *statements: str) -> None:
    for statement in statements:
        conn.execute(statement)


def m001_settings(conn: sqlite3.Connection) -> None:
    """Small values that belong to the workspace, such as its default model, as JSON by key."""
    _run(conn, "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")


def m002_spans(conn: sqlite3.Connection) -> None:
    """One wide row for each span, so that the newest traces are read without a join.

    `id` grows with the start of the span, which makes "newest first" a walk along the primary key.
    The columns that people filter by stand on their own; all else is in `attributes`, under
    OpenTelemetry's names of the release in `schema_url`. A span is written when it opens, with the
    process that owns it, so that one left open by a dead process can be told from a running one;
    `partial` holds the answer so far. There are few indexes, since each costs a page a commit: the open
    spans of a dead process are found by walking from its `first_span`, once, after which it is `swept`.
    """
    _run(
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
    _run(
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
    _run(
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
    _run(
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


def m006_prompts(conn: sqlite3.Connection) -> None:
    """Prompt versions by content; the settings last used are defaults and make no version."""
    _run(
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
    _run(
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
    _run(
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
    _run(
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
    _run(
        conn,
        "CREATE TABLE sessions (name TEXT PRIMARY KEY, parent TEXT, forked_at INTEGER, "
        "created_at TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE session_turns (session TEXT NOT NULL REFERENCES sessions(name), "
        "position INTEGER NOT NULL, messages TEXT NOT NULL, trace_id TEXT NOT NULL, "
        "at TEXT NOT NULL, PRIMARY KEY (session, position)) WITHOUT ROWID",
    )


def m011_maps(conn: sqlite3.Connection) -> None:
    """Finished rows of a data-set run, until the run is complete, so that a killed one goes on."""
    _run(
        conn,
        "CREATE TABLE map_runs (id INTEGER PRIMARY KEY, key TEXT NOT NULL, total INTEGER NOT NULL, "
        "process_id TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT)",
        "CREATE INDEX map_runs_unfinished ON map_runs(key) WHERE finished_at IS NULL",
        "CREATE TABLE map_rows (run_id INTEGER NOT NULL REFERENCES map_runs(id), "
        "position INTEGER NOT NULL, completion TEXT NOT NULL, PRIMARY KEY (run_id, position)) "
        "WITHOUT ROWID",
    )


def m012_parents(conn: sqlite3.Connection) -> None:
    """A model that was made from another one, such as a quantised copy, keeps that one's hash.

    The hash and not the name, since it says from which weights, whatever they are called now.
    """
    _run(conn, "ALTER TABLE models ADD COLUMN parent TEXT NOT NULL DEFAULT ''")


def m013_messages_in_order(conn: sqlite3.Connection) -> None:
    """Messages lie in the order in which they came, and an index leads from the hash to them.

    Without a row id they lay in the order of their hash: each one changed a page somewhere in the file,
    and one of more than 1,000 bytes took a page of its own for what did not fit, however little that
    was. In order they fill their pages, and a new one changes the last page and one of a small index.
    """
    _run(
        conn,
        "ALTER TABLE messages RENAME TO messages_by_hash",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, parent TEXT, "
        "role TEXT NOT NULL, parts TEXT NOT NULL)",
        "INSERT INTO messages(hash, parent, role, parts) "
        "SELECT hash, parent, role, parts FROM messages_by_hash",
        "DROP TABLE messages_by_hash",
    )


def m014_rows_in_order(conn: sqlite3.Connection) -> None:
    """Rows of data sets lie in the order in which they came, for the reasons that messages do.

    The items are made anew with them, since they refer to the table of rows.
    """
    _run(
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
    _run(
        conn,
        "ALTER TABLE models ADD COLUMN format TEXT NOT NULL DEFAULT 'gguf'",
        "ALTER TABLE models ADD COLUMN endpoint TEXT",
    )


MIGRATIONS: tuple[Migration, ...] = (
    m001_settings,
    m002_spans,
    m003_messages,
    m004_search,
    m005_scores,
    m006_prompts,
    m007_aliases,
    m008_models,
    m009_datasets,
    m010_sessions,
    m011_maps,
    m012_parents,
    m013_messages_in_order,
    m014_rows_in_order,
    m015_formats,
)


def check_header(path: Path) -> None:
    """Refuse a file that is not SQLite before anything touches it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        head = file.read(16)
    if head != b"SQLite format 3\x00":
        raise StoreCorruptError(
            f"{str(path)!r} is not a SQLite file. It was left as it is: move it aside and put back "
            "a backup, or open another path."
        )


def version_of(store: Store, conn: sqlite3.Connection) -> int:
    """How many steps the file has seen; refuses files of newer releases and of other programs."""
    # One statement sees one moment: another process may be making the tables.
    version, owner, tables = store.patiently(
        lambda: conn.execute(
            "SELECT (SELECT user_version FROM pragma_user_version), "
            "(SELECT application_id FROM pragma_application_id), count(*) FROM sqlite_master"
        ).fetchone()
    )
    if tables and owner != APPLICATION_ID:
        raise StoreError(
            f"{str(store.path)!r} is a SQLite file of another program and was left alone. "
            "Open another path."
        )
    if version > len(MIGRATIONS):
        raise StoreVersionError(
            f"The store {str(store.path)!r} was made by a newer release (schema {version}, this one "
            f"knows {len(MIGRATIONS)}) and was left alone. Run: pip install -U llmops-jupyter"
        )
    return int(version)


def check_readable(store: Store) -> None:
    """Check that a store opened for reading has the schema that this release reads."""
    version = version_of(store, store.read())
    if version < len(MIGRATIONS):
        raise StoreVersionError(
            f"The store {str(store.path)!r} has the older schema {version}. Open it once for writing "
            "to have it upgraded; a backup is left beside it."
        )


def upgrade(store: Store) -> None:
    """Apply the steps that are missing, in one transaction, after a backup if there is content."""
    with store.lock:
        conn = store.writer()
        version = version_of(store, conn)
        if version == len(MIGRATIONS):
            return
        if version and store.path is not None:
            _backup_beside(store, conn, version)
    with store.write() as conn:
        version = version_of(store, conn)
        for migration in MIGRATIONS[version:]:
            migration(conn)
        conn.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        conn.execute(f"PRAGMA application_id={APPLICATION_ID}")


def _backup_beside(store: Store, conn: sqlite3.Connection, version: int) -> None:
    path = store.path
    if path is None:
        return
    stamp = store.now()[:19].replace(":", "").replace("-", "")
    target = path.with_name(f"{path.name}.schema-{version}.{stamp}.bak")
    if target.exists():
        return
    make_private(target)
    try:
        conn.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as e:
        target.unlink(missing_ok=True)
        raise explain(e, path) from e
