"""Evaluation, traffic splits, documents, fine-tuning and preparations."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


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
    run(
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
    run(
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
    run(
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
    run(
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
    run(
        conn,
        "CREATE TABLE preparations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "recipe_hash TEXT NOT NULL, dropped TEXT, report TEXT NOT NULL, at TEXT NOT NULL, "
        "UNIQUE (name, version, recipe_hash))",
    )
