"""A snapshot of an index: documents, passages and vectors of one moment, without places of this machine."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.folders import Filling
from llmops_jupyter.errors import DeployError, StoreError
from llmops_jupyter.rag import kept
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.rag.index import Index

DOCUMENTS, PASSAGES, VECTORS = "index/documents.jsonl", "index/passages.jsonl", "index/vectors.f32"
TRIES = 5
ROWS = 4_096
OUTSIDE = "outside"
# What of a passage decides what is found and shown.
COLUMNS = (
    "position",
    "digest",
    "text",
    "heading",
    "locator",
    "kind",
    "tokens",
    "truncated",
    "flags",
)


@dataclass(frozen=True)
class Moment:
    """What was written of an index: how many documents and passages, and the rows of vectors in their order."""

    generation: int
    documents: int
    passages: int
    rows: Sequence[int]


def snapshot(index: Index, filling: Filling) -> dict[str, Any]:
    """Write an index as it is at one moment, while others may be adding to it; what the manifest says of it.

    Passages are of one read of the store. Vectors lie in a file of their own, where a row may be given to another passage
    once its own is gone: if the index changed while they were copied, all is read again.

    Raises:
        DeployError: it changes all the time, or vectors are missing.
    """
    for _ in range(TRIES):
        filling.tell(f"index {index.name}")
        moment = _texts(index, filling)
        try:
            if moment.rows:
                filling.chunks(VECTORS, _vectors(index, moment.rows))
        except StoreError as e:
            raise DeployError(f"The index {index.name!r} cannot be put into a bundle: {e}") from e
        if _generation(index.store, index.row.id) == moment.generation:
            return _facts(index, moment)
    raise DeployError(
        f"The index {index.name!r} changes all the time, so there is no moment to keep of it. Wait until documents are "
        "added, and build again."
    )


def restore(
    store: Store, folder: Path, facts: Mapping[str, Any], embedder: str, vectors_of: Any
) -> None:
    """Put a snapshot into a store that has no index of that name.

    Args:
        store: of the bundle's workspace.
        folder: of the bundle.
        facts: what the manifest says of it.
        embedder: name of its model in that store; '' for an index of words.
        vectors_of: gives the `Vectors` of an index by its name.
    """
    row = kept.create(
        *(store, facts["name"], embedder, facts["embedder_digest"] if embedder else ""),
        *(facts["width"], facts["settings"]),
    )
    documents = list(_lines(folder / DOCUMENTS))
    with store.write() as conn:
        ids = [_add_document(conn, store, row.id, document) for document in documents]
        for passage in _lines(folder / PASSAGES):
            _add_passage(conn, row.id, ids[passage["document"]], passage)
        conn.execute(
            "UPDATE rag_indexes SET next_vector = ?, generation = 1 WHERE id = ?",
            (facts["vectors"], row.id),
        )
    if facts["vectors"]:
        _restore_vectors(folder / VECTORS, vectors_of(facts["name"]), facts)


def _texts(index: Index, filling: Filling) -> Moment:
    """Write documents and passages in one read, sorted so that equal indexes are written alike."""
    store = index.store
    conn = store.read()
    rows: dict[int, int] = {}
    count = 0
    with store.lock if store.path is None else _one_read(conn):
        generation = _generation(store, index.row.id)
        documents = conn.execute(
            "SELECT id, source, digest, metadata FROM rag_documents WHERE index_id = ? AND error = ''",
            (index.row.id,),
        ).fetchall()
        names = plain_sources([row["source"] for row in documents])
        documents.sort(key=lambda row: names[row["source"]])
        filling.lines(
            DOCUMENTS,
            (
                {
                    "source": names[row["source"]],
                    "digest": row["digest"],
                    "metadata": json.loads(row["metadata"]),
                }
                for row in documents
            ),
        )

        def passages() -> Iterator[dict[str, Any]]:
            nonlocal count
            for place, document in enumerate(documents):
                for passage in conn.execute(
                    f"SELECT vector, {', '.join(COLUMNS)} FROM rag_chunks WHERE document_id = ? ORDER BY position",
                    (document["id"],),
                ):
                    old, count = passage["vector"], count + 1
                    new = None if old is None else rows.setdefault(old, len(rows))
                    told = {name: passage[name] for name in COLUMNS}
                    yield {"document": place, **told, "vector": new}

        filling.lines(PASSAGES, passages())
    return Moment(generation, len(documents), count, list(rows))


class _one_read:  # noqa: N801 - used as a context, like a function
    """Several statements of a connection that see one moment."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def __enter__(self) -> None:
        self._conn.execute("BEGIN")

    def __exit__(self, *exc: object) -> None:
        self._conn.execute("ROLLBACK")


def plain_sources(sources: Sequence[str]) -> dict[str, str]:
    """Names of documents without places of this machine: those outside the project below one that means so."""
    absolute = [s for s in sources if _is_absolute(s)]
    made = {s: s for s in sources if not _is_absolute(s)}
    if absolute:
        flat = {s: s.replace("\\", "/") for s in absolute}
        above = os.path.commonpath([str(PurePosixPath(flat[s]).parent) for s in absolute])
        for source, name in flat.items():
            made[source] = f"{OUTSIDE}/{PurePosixPath(name).relative_to(above).as_posix()}"
    return made


def _is_absolute(source: str) -> bool:
    return source.startswith("/") or bool(PureWindowsPath(source).drive)


def _vectors(index: Index, rows: Sequence[int]) -> Iterator[bytes]:
    values = index.vectors.read(max(rows) + 1)
    for begin in range(0, len(rows), ROWS):
        yield values[list(rows[begin : begin + ROWS])].astype("<f4").tobytes()


def _facts(index: Index, moment: Moment) -> dict[str, Any]:
    row = index.row
    return {
        "name": row.name,
        "embedder": row.embedder,
        "embedder_digest": row.embedder_digest,
        "width": row.width,
        "settings": dict(row.settings),
        "documents": moment.documents,
        "passages": moment.passages,
        "vectors": len(moment.rows),
    }


def _generation(store: Store, index_id: int) -> int:
    row = store.row("SELECT generation FROM rag_indexes WHERE id = ?", (index_id,))
    return -1 if row is None else int(row[0])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as e:
        raise DeployError(
            f"The index of the bundle cannot be read ({path.name}: {e}). Build or copy the bundle again."
        ) from e


def _add_document(
    conn: sqlite3.Connection, store: Store, index_id: int, document: Mapping[str, Any]
) -> int:
    cursor = conn.execute(
        "INSERT INTO rag_documents(index_id, source, digest, size, mtime_ns, metadata, indexed_at) "
        "VALUES (?, ?, ?, 0, 0, ?, ?)",
        (
            *(index_id, document["source"], document["digest"]),
            *(json.dumps(document["metadata"]), store.now()),
        ),
    )
    return int(cursor.lastrowid or 0)


def _add_passage(
    conn: sqlite3.Connection, index_id: int, document_id: int, passage: Mapping[str, Any]
) -> None:
    made = conn.execute(
        f"INSERT INTO rag_chunks(index_id, document_id, vector, {', '.join(COLUMNS)}) "
        f"VALUES (?, ?, ?, {', '.join('?' * len(COLUMNS))})",
        (index_id, document_id, passage["vector"], *(passage[name] for name in COLUMNS)),
    )
    conn.execute(
        "INSERT INTO rag_text(rowid, heading, text) VALUES (?, ?, ?)",
        (made.lastrowid, passage["heading"], passage["text"]),
    )


def _restore_vectors(path: Path, vectors: Any, facts: Mapping[str, Any]) -> None:
    import numpy as np

    count, width = facts["vectors"], facts["width"]
    try:
        values = np.memmap(path, dtype="<f4", mode="r", shape=(count, width))
    except (OSError, ValueError) as e:
        raise DeployError(
            f"The vectors of the bundle's index cannot be read ({e}). Build or copy the bundle again."
        ) from e
    for begin in range(0, count, ROWS):
        some = range(begin, min(begin + ROWS, count))
        vectors.write(list(some), values[begin : begin + len(some)])
