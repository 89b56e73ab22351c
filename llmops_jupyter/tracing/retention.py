"""What happens to spans later: marking those of dead processes, deleting old ones."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Message
from llmops_jupyter.store import Store
from llmops_jupyter.store.faults import explain, is_busy
from llmops_jupyter.tracing import process
from llmops_jupyter.tracing.messages import store_messages
from llmops_jupyter.tracing.search import enqueue, unindex_span

BATCH = 200
ROW_BYTES = 200  # numbers, ids and index entries of a row, roughly


def _length(*columns: str) -> str:
    return " + ".join([str(ROW_BYTES), *(f"coalesce(length({c}), 0)" for c in columns)])


# SQLite counts characters of a text; its bytes are those of a blob.
SIZES = {
    "spans": _length("CAST(attributes AS BLOB)", "partial", "error_message", "name", "notebook"),
    "messages": _length("CAST(parts AS BLOB)"),
    "scores": _length("CAST(explanation AS BLOB)", "label"),
    "spans_text_data": "length(block)",
}


def mark_interrupted(store: Store) -> int:
    """Close the spans that dead processes left open, with the partial answer that they had written.

    Returns how many. Each dead process is looked through once, from its first span on.
    """
    count = 0
    for owner in store.rows("SELECT * FROM processes WHERE NOT swept"):
        if not process.is_dead(owner):
            continue
        with store.write() as conn:
            rows = conn.execute(
                "SELECT id, input_message, partial FROM spans "
                "WHERE id >= ? AND status = 'open' AND process_id = ?",
                (owner["first_span"], owner["id"]),
            ).fetchall()
            for row in rows:
                _close(conn, row)
            conn.execute("UPDATE processes SET swept = 1 WHERE id = ?", (owner["id"],))
            count += len(rows)
    return count


def _close(conn: sqlite3.Connection, row: sqlite3.Row) -> None:
    output = (Message("assistant", row["partial"]),) if row["partial"] else ()
    last = store_messages(conn, output, row["input_message"]) if output else None
    conn.execute(
        "UPDATE spans SET status = 'interrupted', output_message = ?, partial = NULL, "
        "error_type = 'ProcessDied', error_message = 'the process ended while this span was open' "
        "WHERE id = ?",
        (last, row["id"]),
    )
    enqueue(conn, row["id"])


def prune(
    store: Store, before_ns: int | None, max_bytes: int | None, *, dry_run: bool = False
) -> int:
    """Delete whole traces that began before a moment, then the oldest until the traces fit a size.

    What counts is what the traces take, with their messages, scores and index; prompts, data sets and
    models are neither counted nor deleted.

    Scores and messages that nothing refers to any longer go with them. Traces that a data set was made
    from stay readable there, since data sets keep their own rows, and so do evaluations (see
    `Evaluation.forget`). Returns the number of traces.

    Raises:
        OptionError: neither an age nor a size was given, or the size is negative.
    """
    if max_bytes is not None and max_bytes < 0:
        raise OptionError(f"A size is a number of bytes, at least 0; it is {max_bytes:,}.")
    if before_ns is None and max_bytes is None:
        raise OptionError("Say what may go: an age (older_than='90d') or a size (max_bytes=10**9).")
    count = 0
    if before_ns is not None:
        count += _delete_where(store, "start_ns < ?", [before_ns], dry_run=dry_run)
    if max_bytes is not None:
        count += _shrink(store, max_bytes, dry_run=dry_run)
    if count and not dry_run:
        drop_orphans(store)
    return count


def delete_traces(conn: sqlite3.Connection, ids: list[str]) -> None:
    """Delete traces with their index entries and scores."""
    for trace_id in ids:
        rows = conn.execute("SELECT id FROM spans WHERE trace_id = ?", (trace_id,)).fetchall()
        for row in rows:
            unindex_span(conn, row[0])
        conn.execute("DELETE FROM spans WHERE trace_id = ?", (trace_id,))
        # Scores of an evaluation's answers belong to these, which keep their own text.
        conn.execute("DELETE FROM scores WHERE trace_id = ? AND output_id IS NULL", (trace_id,))


def drop_orphans(store: Store) -> None:
    """Delete messages that no span reaches, and give the space back to the file system."""
    with store.write() as conn:
        # Until its parts are merged, the index keeps what has been deleted from it.
        conn.execute("INSERT INTO spans_text(spans_text) VALUES ('optimize')")
        conn.execute(
            "DELETE FROM messages WHERE hash NOT IN ("
            "WITH RECURSIVE used(hash) AS ("
            "SELECT input_message FROM spans WHERE input_message IS NOT NULL "
            "UNION SELECT output_message FROM spans WHERE output_message IS NOT NULL "
            "UNION SELECT m.parent FROM messages m JOIN used u ON m.hash = u.hash "
            "WHERE m.parent IS NOT NULL) SELECT hash FROM used)"
        )
    with store.lock:
        try:
            store.writer().execute("VACUUM")
        except sqlite3.Error as e:
            if not is_busy(e):  # while others read, the free pages stay and are used again
                raise explain(e, store.path) from e


def trace_bytes(store: Store) -> int:
    """Bytes that traces take: the content of their rows and the full-text index."""
    return sum(
        int(store.rows(f"SELECT coalesce(sum({size}), 0) FROM {table}")[0][0])
        for table, size in SIZES.items()
    )


def _delete_where(store: Store, condition: str, values: list[int], *, dry_run: bool) -> int:
    sql = (
        f"SELECT trace_id FROM spans WHERE parent_id IS NULL AND status != 'open' AND {condition} "
        "ORDER BY id"
    )
    ids = [row[0] for row in store.rows(sql, values)]
    for start in range(0, 0 if dry_run else len(ids), BATCH):
        with store.write() as conn:
            delete_traces(conn, ids[start : start + BATCH])
    return len(ids)


def _shrink(store: Store, max_bytes: int, *, dry_run: bool) -> int:
    """Delete the oldest traces; how many is estimated from the mean size and corrected in rounds."""
    count = 0
    while True:
        total = store.rows(
            "SELECT count(*) FROM spans WHERE parent_id IS NULL AND status != 'open'"
        )[0][0]
        size = trace_bytes(store)
        if size <= max_bytes or not total:
            return count
        wanted = min(total, max(1, int(total * (size - max_bytes) / size)))
        if dry_run:
            return int(wanted)
        ids = [
            row[0]
            for row in store.rows(
                "SELECT trace_id FROM spans WHERE parent_id IS NULL AND status != 'open' "
                "ORDER BY id LIMIT ?",
                (wanted,),
            )
        ]
        for start in range(0, len(ids), BATCH):
            with store.write() as conn:
                delete_traces(conn, ids[start : start + BATCH])
        drop_orphans(store)
        count += len(ids)
