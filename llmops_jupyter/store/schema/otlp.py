"""Where traces are sent, how far that has come, and which spans came from elsewhere."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m029_otlp(conn: sqlite3.Connection) -> None:
    """Endpoints that traces are sent to, with the place reached; spans that were held back; what was imported.

    The store itself is the spool: an endpoint's `position` is the id of the last span that was looked at, `scored` that of
    the last score, and what could not go then is held by its id, because it was `open` or because the endpoint `refused` it,
    with its reason. `settings` name environment variables, never what is in them. `owner` is who sends, one at a time. Ids
    of spans grow with their start, but for those imported: `span_imports` has their ranges, with the time they came, so
    that a search by time can step over them. Where the newest spans are deleted, their ids are given again; triggers, which
    no way of deleting can forget, take positions and ranges back with them.
    """
    run(
        conn,
        """CREATE TABLE otlp_endpoints (
            id INTEGER PRIMARY KEY,
            endpoint TEXT NOT NULL UNIQUE,
            settings TEXT NOT NULL,
            floor INTEGER NOT NULL,
            position INTEGER NOT NULL,
            scored INTEGER NOT NULL,
            sent INTEGER NOT NULL DEFAULT 0,
            sent_at TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            error_at TEXT NOT NULL DEFAULT '',
            owner TEXT NOT NULL DEFAULT '',
            process_id TEXT NOT NULL DEFAULT '',
            beat_at TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL
        )""",
        "CREATE TABLE otlp_held (kind TEXT NOT NULL CHECK (kind IN ('span', 'score')), row_id INTEGER NOT NULL, "
        "endpoint_id INTEGER NOT NULL REFERENCES otlp_endpoints(id), "
        "state TEXT NOT NULL CHECK (state IN ('open', 'refused')), reason TEXT NOT NULL, at TEXT NOT NULL, "
        "PRIMARY KEY (kind, row_id, endpoint_id)) WITHOUT ROWID",
        "CREATE INDEX otlp_held_by_endpoint ON otlp_held(endpoint_id, state)",
        "CREATE TABLE span_imports (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, at_ns INTEGER NOT NULL)",
        "CREATE TRIGGER otlp_after_spans AFTER DELETE ON spans BEGIN "
        "DELETE FROM otlp_held WHERE kind = 'span' AND row_id = OLD.id; "
        "UPDATE otlp_endpoints SET position = (SELECT coalesce(max(id), 0) FROM spans) "
        "WHERE position > (SELECT coalesce(max(id), 0) FROM spans); "
        "UPDATE otlp_endpoints SET floor = position WHERE floor > position; "
        "DELETE FROM span_imports WHERE first > (SELECT coalesce(max(id), 0) FROM spans); "
        "UPDATE span_imports SET last = (SELECT coalesce(max(id), 0) FROM spans) "
        "WHERE last > (SELECT coalesce(max(id), 0) FROM spans); END",
        "CREATE TRIGGER otlp_after_scores AFTER DELETE ON scores BEGIN "
        "DELETE FROM otlp_held WHERE kind = 'score' AND row_id = OLD.id; "
        "UPDATE otlp_endpoints SET scored = (SELECT coalesce(max(id), 0) FROM scores) "
        "WHERE scored > (SELECT coalesce(max(id), 0) FROM scores); END",
    )
