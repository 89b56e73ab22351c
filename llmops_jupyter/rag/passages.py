"""Passages as people read them: with their flags, and among those of their document."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_jupyter.rag.kept import STEP, DocumentRow
from llmops_jupyter.store import Store

# Bytes of a file that are hashed at once.
BLOCK = 2**20


@dataclass(frozen=True)
class Passage:
    """A passage of an index; `position` counts those of its document from 0, `version` is the document's digest."""

    id: int
    position: int
    source: str
    version: str
    locator: str
    heading: str
    kind: str
    text: str
    flags: tuple[str, ...]


_SELECT = (
    "SELECT c.id, c.position, d.source, d.digest, c.locator, c.heading, c.kind, c.text, c.flags "
    "FROM rag_chunks c JOIN rag_documents d ON d.id = c.document_id "
)


def passages(store: Store, ids: Sequence[int]) -> dict[int, Passage]:
    """Passages by their ids, without those that are gone."""
    found: dict[int, Passage] = {}
    for begin in range(0, len(ids), STEP):
        some = ids[begin : begin + STEP]
        rows = store.rows(f"{_SELECT}WHERE c.id IN ({','.join('?' * len(some))})", tuple(some))
        found.update({row[0]: _passage(row) for row in rows})
    return found


def passages_around(
    store: Store, document_id: int, position: int, each_side: int, most: int
) -> list[Passage]:
    """A passage of a document with its neighbours in order, up to `most` characters; the passage is always there."""
    rows = store.rows(
        f"{_SELECT}WHERE c.document_id = ? AND c.position BETWEEN ? AND ? ORDER BY c.position",
        (document_id, position - each_side, position + each_side),
    )
    near = {row["position"]: _passage(row) for row in rows}
    if position not in near:
        return []
    chosen, left = [position], most - len(near[position].text)
    sides = {-1: position, 1: position}
    while sides:
        for step in tuple(sides):
            there = near.get(sides[step] + step)
            if there is None or len(there.text) > left:
                del sides[step]
                continue
            left -= len(there.text)
            sides[step] = there.position
            chosen.append(there.position)
    return [near[number] for number in sorted(chosen)]


def count_of(store: Store, document_id: int) -> int:
    """How many passages a document has."""
    row = store.row("SELECT count(*) FROM rag_chunks WHERE document_id = ?", (document_id,))
    return row[0] if row else 0


def state_of(document: DocumentRow, base: Path) -> str:
    """What became of a document's file since it was indexed: '', 'changed' or 'gone'; '' if it is no file."""
    if not document.mtime_ns:
        return ""
    path = base / document.source
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "changed"
        if (status.st_size, status.st_mtime_ns) == (document.size, document.mtime_ns):
            return ""
        if status.st_size != document.size:
            return "changed"
        return "" if _digest(path) == document.digest else "changed"
    except OSError:
        return "gone"


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def _passage(row: sqlite3.Row) -> Passage:
    return Passage(
        row["id"],
        row["position"],
        row["source"],
        row["digest"],
        row["locator"],
        row["heading"],
        row["kind"],
        row["text"],
        tuple(json.loads(row["flags"])),
    )
