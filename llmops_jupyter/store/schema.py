"""The tables of the store, as an ordered list of steps that are never rewritten.

Each step is a function whose docstring says why the tables look as they do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

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


def m016_evaluation(conn: sqlite3.Connection) -> None:
    """Answers of variants to rows, runs that gather them, comparisons, suites, and scores of answers.

    An answer (`evaluation_outputs`) is kept once, by what decides it: prompt, model, adapters, sampling and
    row. A run names its answers item by item, so that a second run of the same variant computes nothing,
    and a killed one goes on. Scores belong to an answer, with or without a trace; `scope` is the hash of
    what the score depends on beside it (the row with the expected answer), `drawn` says how an answer was
    picked for labelling, since only labels of answers drawn at random may correct a judge. `tuned_on` lists
    the answers whose labels made a judge what it is. The comparisons are kept, since whether an interval may
    be a plain one depends on the looks before.
    """
    _run(
        conn,
        "CREATE TABLE evaluation_outputs (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
        "trace_id TEXT NOT NULL, completion TEXT NOT NULL, at TEXT NOT NULL)",
        """CREATE TABLE evaluation_runs (
            id INTEGER PRIMARY KEY,
            variant TEXT NOT NULL,
            variant_key TEXT NOT NULL,
            label TEXT NOT NULL,
            data_name TEXT NOT NULL,
            data_version INTEGER,
            data_hash TEXT NOT NULL,
            expected TEXT NOT NULL,
            metrics TEXT NOT NULL,
            repeats INTEGER NOT NULL,
            n_rows INTEGER NOT NULL,
            notebook TEXT,
            cell_id TEXT,
            process_id TEXT NOT NULL,
            started_at TEXT NOT NULL,
            finished_at TEXT
        )""",
        "CREATE INDEX evaluation_runs_by_data ON evaluation_runs(data_name, data_hash)",
        "CREATE TABLE evaluation_items (run_id INTEGER NOT NULL REFERENCES evaluation_runs(id), "
        "position INTEGER NOT NULL, repetition INTEGER NOT NULL, row_id TEXT NOT NULL, "
        "row_hash TEXT NOT NULL, output_id INTEGER REFERENCES evaluation_outputs(id), "
        "input TEXT NOT NULL, error TEXT NOT NULL, PRIMARY KEY (run_id, position, repetition)) "
        "WITHOUT ROWID",
        "ALTER TABLE scores ADD COLUMN output_id INTEGER",
        "ALTER TABLE scores ADD COLUMN scope TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE scores ADD COLUMN drawn TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX scores_by_output ON scores(output_id) WHERE output_id IS NOT NULL",
        """CREATE TABLE comparisons (
            id INTEGER PRIMARY KEY,
            family TEXT NOT NULL,
            run_a INTEGER NOT NULL REFERENCES evaluation_runs(id),
            run_b INTEGER NOT NULL REFERENCES evaluation_runs(id),
            metric TEXT NOT NULL,
            n INTEGER NOT NULL,
            rows_hash TEXT NOT NULL,
            final INTEGER NOT NULL,
            data_name TEXT NOT NULL,
            data_hash TEXT NOT NULL,
            result TEXT NOT NULL,
            at TEXT NOT NULL
        )""",
        "CREATE INDEX comparisons_by_family ON comparisons(family)",
        "CREATE INDEX comparisons_by_data ON comparisons(data_name)",
        "CREATE TABLE judge_checks (judge TEXT NOT NULL, model_digest TEXT NOT NULL, "
        "result TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (judge, model_digest)) WITHOUT ROWID",
        "CREATE TABLE judge_calibrations (id INTEGER PRIMARY KEY, judge TEXT NOT NULL, "
        "model_digest TEXT NOT NULL, result TEXT NOT NULL, tuned_on TEXT NOT NULL, at TEXT NOT NULL)",
        "CREATE TABLE suites (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "content_hash TEXT NOT NULL, content TEXT NOT NULL, created_at TEXT NOT NULL, "
        "UNIQUE (name, version))",
    )


def m017_splits(conn: sqlite3.Connection) -> None:
    """Live traffic of an alias, split between versions of a prompt.

    `arms` are versions with their weights, `salt` makes the assignment of units of this split independent of
    others. A split that has ended keeps its row: traces name it.
    """
    _run(
        conn,
        "CREATE TABLE prompt_splits (id INTEGER PRIMARY KEY, name TEXT NOT NULL, alias TEXT NOT NULL, "
        "arms TEXT NOT NULL, salt TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT, "
        "note TEXT NOT NULL DEFAULT '')",
        "CREATE UNIQUE INDEX prompt_splits_running ON prompt_splits(name, alias) "
        "WHERE ended_at IS NULL",
    )


def m018_rag(conn: sqlite3.Connection) -> None:
    """Indexes of documents: passages with where they are, found by words here and by vectors in a file.

    `rag_text` is kept in step with `rag_chunks` by hand, since deleting from it takes the text that was there.
    Vectors lie in a file beside the store, one row each; `vector` is the row, `next_vector` the first that
    nobody has taken. A row is taken in a transaction before the vector is written, and the passage is
    committed after it: a passage that is there has its vector, whenever the process dies. Rows of passages that
    are gone lie in `rag_freed` until they are overwritten. `generation` counts changes, so that readers know
    when what they hold is old.
    """
    _run(
        conn,
        """CREATE TABLE rag_indexes (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            embedder TEXT NOT NULL,
            embedder_digest TEXT NOT NULL,
            width INTEGER NOT NULL,
            settings TEXT NOT NULL,
            next_vector INTEGER NOT NULL DEFAULT 0,
            generation INTEGER NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL
        )""",
        "CREATE TABLE rag_freed (index_id INTEGER NOT NULL, vector INTEGER NOT NULL, "
        "PRIMARY KEY (index_id, vector)) WITHOUT ROWID",
        """CREATE TABLE rag_documents (
            id INTEGER PRIMARY KEY,
            index_id INTEGER NOT NULL REFERENCES rag_indexes(id),
            source TEXT NOT NULL,
            digest TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            metadata TEXT NOT NULL,
            error TEXT NOT NULL DEFAULT '',
            indexed_at TEXT NOT NULL,
            UNIQUE (index_id, source)
        )""",
        """CREATE TABLE rag_chunks (
            id INTEGER PRIMARY KEY,
            index_id INTEGER NOT NULL REFERENCES rag_indexes(id),
            document_id INTEGER NOT NULL REFERENCES rag_documents(id),
            position INTEGER NOT NULL,
            digest TEXT NOT NULL,
            text TEXT NOT NULL,
            heading TEXT NOT NULL,
            locator TEXT NOT NULL,
            kind TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            truncated INTEGER NOT NULL,
            flags TEXT NOT NULL,
            vector INTEGER
        )""",
        "CREATE INDEX rag_chunks_by_document ON rag_chunks(document_id, position)",
        "CREATE INDEX rag_chunks_by_digest ON rag_chunks(index_id, digest)",
        "CREATE VIRTUAL TABLE rag_text USING fts5(heading, text, content='', "
        'tokenize="porter unicode61 remove_diacritics 2")',
    )


def m019_finetune(conn: sqlite3.Connection) -> None:
    """Runs of fine-tuning and what they told, so that curves and samples outlive the notebook.

    `read_bytes` says how much of the run's own log of events is here already: the training process writes
    only there, and whoever looks at a run brings its events over.
    """
    _run(
        conn,
        """CREATE TABLE finetune_runs (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            status TEXT NOT NULL,
            model TEXT NOT NULL,
            model_sha256 TEXT NOT NULL,
            data TEXT NOT NULL,
            data_hash TEXT NOT NULL,
            eval_data TEXT NOT NULL,
            recipe TEXT NOT NULL,
            plan TEXT NOT NULL,
            samples TEXT NOT NULL,
            folder TEXT NOT NULL,
            message TEXT NOT NULL DEFAULT '',
            adapter TEXT NOT NULL DEFAULT '',
            read_bytes INTEGER NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            ended_at TEXT
        )""",
        """CREATE TABLE finetune_events (
            run_id TEXT NOT NULL REFERENCES finetune_runs(id),
            seq INTEGER NOT NULL,
            kind TEXT NOT NULL,
            step INTEGER,
            event TEXT NOT NULL,
            PRIMARY KEY (run_id, seq)
        ) WITHOUT ROWID""",
    )


def m020_preparations(conn: sqlite3.Connection) -> None:
    """Reports of preparations, by the version of a data set that each made.

    Two recipes may come to the same rows, and each keeps its report; `recipe_hash` is of the recipe and the
    source. `dropped` is the version that holds what was left out.
    """
    _run(
        conn,
        "CREATE TABLE preparations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "recipe_hash TEXT NOT NULL, dropped TEXT, report TEXT NOT NULL, at TEXT NOT NULL, "
        "UNIQUE (name, version, recipe_hash))",
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
    m016_evaluation,
    m017_splits,
    m018_rag,
    m019_finetune,
    m020_preparations,
)
