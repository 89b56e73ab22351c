"""The health of an index: what is stale, skipped, double or flagged, its size and speed, what was asked of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.rag import kept
from llmops_jupyter.rag.health import Asked, asked
from llmops_jupyter.rag.passages import state_of

if TYPE_CHECKING:
    from llmops_jupyter.rag.index import Index


@dataclass(frozen=True)
class Status:
    """The health of an index.

    Args:
        name: of the index.
        embedder: its model; '' for an index of words.
        documents: that can be found.
        chunks: passages.
        skipped: sources that could not be read, with the reason.
        stale: files that have changed or gone since they were indexed.
        duplicates: passages whose text another one has.
        truncated: passages longer than the embedder's window.
        flagged: passages that carry instructions or hidden text.
        bytes: of texts and vectors.
        query_s: median seconds of a search, measured now.
        fingerprint: of the content, as traces name it.
        asked: what prompts asked of it: questions without support, drift.
    """

    name: str
    embedder: str
    documents: int
    chunks: int
    skipped: Mapping[str, str]
    stale: tuple[str, ...]
    duplicates: int
    truncated: int
    flagged: tuple[str, ...]
    bytes: int
    query_s: float | None
    fingerprint: str
    asked: Asked = field(default_factory=lambda: Asked(()))

    def rows(self) -> list[dict[str, Any]]:
        """The status as a table."""
        facts = {
            "embedder": self.embedder or "none: found by words only",
            "documents": self.documents,
            "passages": self.chunks,
            "skipped": len(self.skipped),
            "stale": ", ".join(self.stale[:5]) + ("…" if len(self.stale) > 5 else ""),
            "duplicate passages": self.duplicates,
            "longer than the window": self.truncated,
            "carry instructions": ", ".join(self.flagged[:5]),
            "size": f"{self.bytes / 1024**2:.1f} MB",
            "search": "–" if self.query_s is None else f"{1000 * self.query_s:.1f} ms",
            "fingerprint": self.fingerprint,
            **self.asked.facts(),
        }
        return [{"fact": name, "value": value} for name, value in facts.items() if value != ""]

    def as_dict(self) -> dict[str, Any]:
        """The status as JSON values."""
        return {**vars(self), "skipped": dict(self.skipped), "asked": self.asked.as_dict()}


def status_of(index: Index) -> Status:
    """The health of an index, looked at now."""
    found = index.documents()
    good = {s: d for s, d in found.items() if not d.error}
    row = index.store.row(
        "SELECT count(*), count(DISTINCT digest), coalesce(sum(truncated), 0), "
        "coalesce(sum(length(CAST(text AS BLOB))), 0) FROM rag_chunks WHERE index_id = ?",
        (index.row.id,),
    )
    assert row is not None
    flagged = index.store.rows(
        "SELECT DISTINCT d.source || ' (' || c.locator || ')' FROM rag_chunks c JOIN rag_documents d "
        "ON d.id = c.document_id WHERE c.index_id = ? AND c.flags != '[]'",
        (index.row.id,),
    )
    return Status(
        index.name,
        index.row.embedder,
        len(good),
        row[0],
        {s: d.error for s, d in found.items() if d.error},
        tuple(_stale(good, index.base)),
        row[0] - row[1],
        row[2],
        tuple(r[0] for r in flagged),
        row[3] + 4 * index.row.width * row[0],
        _latency(index),
        index.fingerprint(),
        asked(index.store, index.name),
    )


def _latency(index: Index) -> float | None:
    """Median seconds of a search for the beginnings of three passages."""
    texts = index.store.rows(
        "SELECT substr(text, 1, 80) FROM rag_chunks WHERE index_id = ? LIMIT 3", (index.row.id,)
    )
    seconds = []
    for row in texts:
        if row[0].strip():
            began = time.perf_counter()
            index.find(row[0], 8)
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2] if seconds else None


def _stale(found: Mapping[str, kept.DocumentRow], base: Path) -> list[str]:
    """Files whose content is another than when they were indexed, or that are gone."""
    return [source for source, document in found.items() if state_of(document, base)]
