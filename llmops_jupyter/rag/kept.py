"""What an index keeps in the store: documents, passages, words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.rag.chunking import Chunk
from llmops_jupyter.rag.sections import Document
from llmops_jupyter.store import Store

# SQLite before 3.32 takes 999 values in one statement.
STEP = 900


@dataclass(frozen=True)
class IndexRow:
    """An index as the store has it; `embedder` '' means that it finds by words only."""

    id: int
    name: str
    embedder: str
    embedder_digest: str
    width: int
    settings: Mapping[str, Any]
    generation: int
    next_vector: int
    created_at: str


@dataclass(frozen=True)
class DocumentRow:
    """A document of an index; `error` says why one could not be read."""

    id: int
    source: str
    digest: str
    size: int
    mtime_ns: int
    metadata: Mapping[str, Any]
    error: str
    indexed_at: str


def index_row(store: Store, name: str) -> IndexRow | None:
    """The index of that name."""
    row = store.row("SELECT * FROM rag_indexes WHERE name = ?", (name,))
    return None if row is None else _index(row)


def index_rows(store: Store) -> list[IndexRow]:
    """All indexes by name."""
    return [_index(row) for row in store.rows("SELECT * FROM rag_indexes ORDER BY name")]


def create(
    store: Store, name: str, embedder: str, digest: str, width: int, settings: Mapping[str, Any]
) -> IndexRow:
    """Make an index; the one that is there if another process was faster."""
    with store.write() as conn:
        conn.execute(
            "INSERT OR IGNORE INTO rag_indexes(name, embedder, embedder_digest, width, settings, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (name, embedder, digest, width, json.dumps(dict(settings)), store.now()),
        )
        row = conn.execute("SELECT * FROM rag_indexes WHERE name = ?", (name,)).fetchone()
    return _index(row)


def documents(store: Store, index_id: int) -> dict[str, DocumentRow]:
    """The documents of an index by source."""
    rows = store.rows("SELECT * FROM rag_documents WHERE index_id = ? ORDER BY source", (index_id,))
    return {row["source"]: _document(row) for row in rows}


def document_row(store: Store, index_id: int, source: str) -> DocumentRow | None:
    """A document of an index by its source."""
    row = store.row(
        "SELECT * FROM rag_documents WHERE index_id = ? AND source = ?", (index_id, source)
    )
    return None if row is None else _document(row)


def has_passages(store: Store, index_id: int) -> bool:
    """Whether there is anything to find."""
    found = store.row("SELECT 1 FROM rag_chunks WHERE index_id = ? LIMIT 1", (index_id,))
    return found is not None


def vectors_by_digest(store: Store, index_id: int, digests: Iterable[str]) -> dict[str, int]:
    """For passages that the index has already, a row that holds their vector."""
    wanted, found = list(dict.fromkeys(digests)), {}
    for begin in range(0, len(wanted), STEP):
        some = wanted[begin : begin + STEP]
        for row in store.rows(
            "SELECT digest, vector FROM rag_chunks WHERE index_id = ? AND vector IS NOT NULL "
            f"AND digest IN ({','.join('?' * len(some))})",
            (index_id, *some),
        ):
            found[row[0]] = row[1]
    return found


def take_rows(store: Store, index_id: int, count: int) -> list[int]:
    """Rows for vectors that nobody else gets: those that are free again, then new ones."""
    with store.write() as conn:
        free = [
            row[0]
            for row in conn.execute(
                "SELECT vector FROM rag_freed WHERE index_id = ? ORDER BY vector LIMIT ?",
                (index_id, count),
            )
        ]
        conn.executemany(
            "DELETE FROM rag_freed WHERE index_id = ? AND vector = ?", [(index_id, v) for v in free]
        )
        more = count - len(free)
        first = conn.execute(
            "SELECT next_vector FROM rag_indexes WHERE id = ?", (index_id,)
        ).fetchone()[0]
        conn.execute(
            "UPDATE rag_indexes SET next_vector = ? WHERE id = ?", (first + more, index_id)
        )
    return [*free, *range(first, first + more)]


def freed_rows(conn: sqlite3.Connection, index_id: int) -> list[int]:
    """Rows whose passages are gone, and which nobody has taken again."""
    rows = conn.execute("SELECT vector FROM rag_freed WHERE index_id = ?", (index_id,))
    return [row[0] for row in rows]


def keep_document(
    store: Store,
    index_id: int,
    document: Document,
    chunks: Sequence[tuple[Chunk, Sequence[str], int | None]],
    *,
    size: int,
    mtime_ns: int,
) -> None:
    """Put a document in the place of what was there under its source, in one transaction."""
    with store.write() as conn:
        drop_document(conn, index_id, document.source)
        cursor = conn.execute(
            "INSERT INTO rag_documents(index_id, source, digest, size, mtime_ns, metadata, indexed_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(index_id, document.source, document.digest, size, mtime_ns),
                *(json.dumps(dict(document.metadata)), store.now()),
            ),
        )
        document_id = cursor.lastrowid
        for position, (chunk, flags, vector) in enumerate(chunks):
            heading = " › ".join(chunk.heading)
            made = conn.execute(
                "INSERT INTO rag_chunks(index_id, document_id, position, digest, text, heading, locator, "
                "kind, tokens, truncated, flags, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(index_id, document_id, position, chunk.digest, chunk.text, heading),
                    *(chunk.locator, chunk.kind, chunk.tokens, int(chunk.truncated)),
                    *(json.dumps(list(flags)), vector),
                ),
            )
            conn.execute(
                "INSERT INTO rag_text(rowid, heading, text) VALUES (?, ?, ?)",
                (made.lastrowid, heading, chunk.text),
            )
        _changed(conn, index_id)


def keep_error(
    store: Store, index_id: int, source: str, error: str, size: int, mtime_ns: int
) -> None:
    """Keep that a document could not be read, and why; what was there under its source goes."""
    with store.write() as conn:
        drop_document(conn, index_id, source)
        conn.execute(
            "INSERT INTO rag_documents(index_id, source, digest, size, mtime_ns, metadata, error, "
            "indexed_at) VALUES (?, ?, '', ?, ?, '{}', ?, ?)",
            (index_id, source, size, mtime_ns, error, store.now()),
        )
        _changed(conn, index_id)


def touch(store: Store, document: DocumentRow, size: int, mtime_ns: int) -> None:
    """Note size and time of a file whose content is the same."""
    with store.write() as conn:
        conn.execute(
            "UPDATE rag_documents SET size = ?, mtime_ns = ? WHERE id = ?",
            (size, mtime_ns, document.id),
        )


def drop_document(conn: sqlite3.Connection, index_id: int, source: str) -> int:
    """Take a document out, its vectors' rows are free then; how many passages it had."""
    row = conn.execute(
        "SELECT id FROM rag_documents WHERE index_id = ? AND source = ?", (index_id, source)
    ).fetchone()
    if row is None:
        return 0
    count = 0
    for chunk in conn.execute(
        "SELECT id, heading, text, vector FROM rag_chunks WHERE document_id = ?", (row[0],)
    ).fetchall():
        conn.execute(
            "INSERT INTO rag_text(rag_text, rowid, heading, text) VALUES ('delete', ?, ?, ?)",
            (chunk[0], chunk[1], chunk[2]),
        )
        count += 1
        if chunk[3] is not None:
            conn.execute(
                "INSERT INTO rag_freed(index_id, vector) VALUES (?, ?)", (index_id, chunk[3])
            )
    conn.execute("DELETE FROM rag_chunks WHERE document_id = ?", (row[0],))
    conn.execute("DELETE FROM rag_documents WHERE id = ?", (row[0],))
    _changed(conn, index_id)
    return count


def _changed(conn: sqlite3.Connection, index_id: int) -> None:
    conn.execute("UPDATE rag_indexes SET generation = generation + 1 WHERE id = ?", (index_id,))


def _index(row: sqlite3.Row) -> IndexRow:
    return IndexRow(
        row["id"],
        row["name"],
        row["embedder"],
        row["embedder_digest"],
        row["width"],
        json.loads(row["settings"]),
        row["generation"],
        row["next_vector"],
        row["created_at"],
    )


def _document(row: sqlite3.Row) -> DocumentRow:
    return DocumentRow(
        row["id"],
        row["source"],
        row["digest"],
        row["size"],
        row["mtime_ns"],
        json.loads(row["metadata"]),
        row["error"],
        row["indexed_at"],
    )
