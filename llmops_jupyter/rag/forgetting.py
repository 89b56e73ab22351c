"""Forgetting a document: its passages, their vectors, and what runs were given of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_jupyter.errors import UnknownNameError, did_you_mean
from llmops_jupyter.rag import kept
from llmops_jupyter.rag.redaction import redact
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.rag.index import Index


@dataclass(frozen=True)
class Forgotten:
    """What forgetting a document did: `in_log` says that another process kept the store's log from being cut."""

    source: str
    passages: int
    in_log: bool = False
    traces: int = 0

    def sentence(self) -> str:
        """What is gone, and what is not reached."""
        said = (
            f"{self.source} is forgotten: {self.passages} passages with their vectors, and what {self.traces} traces "
            "had of it. Not reached: what people noted; data sets, also those that %rag eval made; prompts that its "
            "answers were put into; notebooks' outputs; beginnings of prompts that are kept for speed (%model status "
            "names the folder); backups, exports and cassettes."
        )
        if self.in_log:
            said += " Another process reads the store, so its text is in the store's log until that process closes it."
        return said

    def __str__(self) -> str:
        return self.sentence()


def forget(index: Index, source: str) -> Forgotten:
    """See `Index.forget`."""
    known = index.documents()
    if source not in known:
        found = forget_traces(index.store, index.name, source)
        if found is None:
            raise UnknownNameError(
                f"The index {index.name!r} has no document {source!r}.{did_you_mean(source, known)} %rag status "
                f"{index.name} lists them."
            )
        return found
    delete_securely(index.store)
    traces = redact(index.store, index.name, source)
    with index.store.write() as conn:
        count = kept.drop_document(conn, index.row.id, source)
        # Its words, and those of its earlier versions, go when all parts are merged into one.
        conn.execute("INSERT INTO rag_text(rag_text) VALUES ('optimize')")
    with index.store.write() as conn:  # so that nobody takes one of these rows meanwhile
        index.vectors.erase(kept.freed_rows(conn, index.row.id))
    return Forgotten(source, count, in_log=_cut_log(index.store), traces=traces)


def forget_traces(store: Store, index: str, source: str) -> Forgotten | None:
    """Forget what runs were given of a document that is gone already; None if there is nothing of it."""
    delete_securely(store)
    traces = redact(store, index, source)
    return Forgotten(source, 0, in_log=_cut_log(store), traces=traces) if traces else None


def delete_securely(store: Store) -> None:
    """Have SQLite overwrite what is deleted from now on: a later `forget` reaches earlier versions too."""
    with store.lock:
        store.writer().execute("PRAGMA secure_delete = ON").fetchall()


def _cut_log(store: Store) -> bool:
    """Write the log into the store; whether another process keeps it from being cut."""
    with store.lock:
        return bool(store.writer().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
