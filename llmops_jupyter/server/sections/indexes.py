"""Indexes of documents: their health, and search by words."""

from __future__ import annotations

import time
from typing import Any

from llmops_jupyter.rag.highlighting import highlighted, places
from llmops_jupyter.server.handles import Handle

# Health looks at the documents' files, so it is looked at anew at most so often, in seconds.
FRESH_S = 30


def listed(handle: Handle) -> dict[str, Any]:
    """All indexes by name."""
    items = []
    for name in handle.workspace.rag.names():
        index = handle.workspace.rag.index(name)
        stamp = (index.row.id, index.row.generation, int(time.time() // FRESH_S))
        health = handle.kept(("health", name), stamp, index.health)
        items.append(
            {
                "name": name,
                "documents": health.documents,
                "passages": health.passages,
                "embedder": index.row.embedder,
                "size": health.bytes,
                "changed_at": health.changed_at,
                "health": [vars(remark) for remark in health.remarks],
            }
        )
    return {"items": items, "next": None}


def search(handle: Handle, name: str, *, q: str, k: int) -> dict[str, Any]:
    """The passages that have words of a question, best first; no model is loaded for it."""
    index = handle.workspace.rag.index(name)
    found = index.paired(index.find(q, k, mode="words"))
    marked = highlighted(q, [hit.text for hit, _ in found])
    note = ""
    if index.row.embedder:
        note = (
            f"Found by words only, since the server loads no model. In a notebook, %rag search {name} finds by "
            "meaning as well."
        )
    hits = [
        {
            "text": hit.text,
            "source": hit.source,
            "locator": hit.locator,
            "score": one.score,
            "words": one.word_score,
            "vectors": one.cosine,
            "marked": [list(pair) for pair in places(pieces)],
        }
        for (hit, one), pieces in zip(found, marked, strict=True)
    ]
    return {"hits": hits, "legs": ["words"], "note": note}
