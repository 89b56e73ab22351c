"""Which prompt version each cell of a notebook has made or run last."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.store import Store

CELLS = "cells"
# Of each cell: prompt, version, trace.
Known = Mapping[tuple[str, str], tuple[str, int, str]]
MOST_CELLS = 20_000


def cells(handle: Handle, root: Path, *, notebook: str) -> dict[str, Any]:
    """The cells of a notebook, whose path is relative to the server's root.

    Raises:
        OptionError: the path leads out of the root.
    """
    meant = spellings(root, notebook)
    store = handle.workspace.store
    before: tuple[int, int, Known] = handle.kept(CELLS, None, lambda: (0, 0, {}))
    made = _followed(store, before)
    handle.keep(CELLS, None, made)
    latest = {
        row[0]: row[1]
        for row in store.rows("SELECT name, max(version) FROM prompt_versions GROUP BY name")
    }
    return {
        "items": [
            {
                "cell_id": cell,
                "prompt": prompt,
                "version": version,
                "latest": latest.get(prompt, version),
                "trace_id": trace,
            }
            for (where, cell), (prompt, version, trace) in made[2].items()
            if where in meant
        ]
    }


def spellings(root: Path, notebook: str) -> frozenset[str]:
    """How kernels may have written the path of a notebook down: whole, as a server or the system tells it, or relative."""
    relative = notebook.replace("\\", "/")
    if relative.startswith("/") or ":" in relative.split("/")[0] or ".." in relative.split("/"):
        raise OptionError(
            "notebook is a path relative to the server's folder, without '..'. Take it from the document."
        )
    try:
        resolved = (root / relative).resolve()
        inside = resolved.is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as e:
        raise OptionError(f"notebook cannot be a path: {e}.") from e
    if not inside:
        raise OptionError("notebook leads out of the server's folder.")
    return frozenset([relative, relative.replace("/", os.sep), str(root / relative), str(resolved)])


def _followed(store: Store, before: tuple[int, int, Known]) -> tuple[int, int, Known]:
    """The first and the last id, and what is known of cells, with the spans that came since."""
    ends = store.row("SELECT min(id), max(id) FROM spans")
    first, last = (ends[0] or 0, ends[1] or 0) if ends is not None else (0, 0)
    same = before[0] == first and last >= before[1]
    if same and last == before[1]:
        return before
    known = dict(before[2]) if same else {}
    for row in store.read().execute(
        "SELECT notebook, cell_id, prompt_name, prompt_version, trace_id FROM spans "
        "WHERE id > ? AND id <= ? AND parent_id IS NULL AND prompt_name IS NOT NULL "
        "AND cell_id IS NOT NULL AND notebook IS NOT NULL ORDER BY id",
        (before[1] if same else 0, last),
    ):
        key = (row["notebook"], row["cell_id"])
        known.pop(key, None)  # so that the newest are the last
        known[key] = (row["prompt_name"], row["prompt_version"] or 0, row["trace_id"])
    for key in list(known)[: max(0, len(known) - MOST_CELLS)]:
        del known[key]
    return first, last, known
