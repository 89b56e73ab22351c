"""What is well and what is not with an index, in sentences; nothing is searched and no model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmops_jupyter.rag.passages import state_of

if TYPE_CHECKING:
    from llmops_jupyter.rag.index import Index

State = Literal["ok", "warning", "alert"]
# Names that a sentence lists, and files that are looked at.
LISTED, MOST_FILES = 3, 5_000


@dataclass(frozen=True)
class Remark:
    """One thing about an index: 'ok', 'warning' or 'alert', and why."""

    state: State
    words: str


@dataclass(frozen=True)
class Health:
    """An index with what is to be known of it.

    Args:
        documents: that can be found.
        passages: of these.
        bytes: of texts and vectors.
        changed_at: when a document was indexed last, or the index was made.
        remarks: the worst first; there is at least one.
    """

    documents: int
    passages: int
    bytes: int
    changed_at: str
    remarks: tuple[Remark, ...]


def health_of(index: Index) -> Health:
    """The health of an index, looked at now."""
    found = index.documents()
    good = {source: d for source, d in found.items() if not d.error}
    row = index.store.row(
        "SELECT count(*), count(DISTINCT digest), coalesce(sum(truncated), 0), "
        "coalesce(sum(length(CAST(text AS BLOB))), 0), count(vector) FROM rag_chunks WHERE index_id = ?",
        (index.row.id,),
    )
    flagged = index.store.rows(
        "SELECT DISTINCT d.source FROM rag_chunks c JOIN rag_documents d ON d.id = c.document_id "
        "WHERE c.index_id = ? AND c.flags != '[]' ORDER BY d.source",
        (index.row.id,),
    )
    assert row is not None
    passages, distinct, truncated, size, vectors = row
    newest = list(good.items())[:MOST_FILES]
    stale = [source for source, document in newest if state_of(document, index.base)]
    remarks = [
        *_about("alert", [r[0] for r in flagged], "with instructions to a model or hidden text"),
        *_about("warning", [s for s, d in found.items() if d.error], "that could not be read"),
        *_about("warning", stale, "changed or gone since they were indexed: add them again"),
    ]
    if truncated:
        remarks.append(
            Remark("warning", f"{truncated:,} passages are longer than the embedder's window")
        )
    if index.row.embedder and vectors < passages:
        remarks.append(
            Remark("warning", f"{passages - vectors:,} passages have no vector yet: add again")
        )
    if not good:
        remarks.append(Remark("warning", f"no documents yet: %rag add {index.name} FOLDER"))
    if passages > distinct:
        remarks.append(Remark("ok", f"{passages - distinct:,} passages say what others say"))
    dates = [index.row.created_at, *(d.indexed_at for d in found.values())]
    return Health(
        len(good),
        passages,
        size + 4 * index.row.width * passages,
        max(dates),
        tuple(remarks or [Remark("ok", "all documents are as they were indexed")]),
    )


def _about(state: State, sources: Sequence[str], what: str) -> list[Remark]:
    if not sources:
        return []
    more = ", …" if len(sources) > LISTED else ""
    many = "document" if len(sources) == 1 else "documents"
    listed = ", ".join(sources[:LISTED])
    return [Remark(state, f"{len(sources):,} {many} {what}: {listed}{more}")]
