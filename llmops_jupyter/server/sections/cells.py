"""Which prompt version each cell of a notebook has made or run last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.server.handles import Handle


def cells(handle: Handle, root: Path, *, notebook: str) -> dict[str, Any]:
    """The cells of a notebook, whose path is relative to the server's root.

    Raises:
        OptionError: the path leads out of the root.
    """
    runs = handle.roots.cells(spellings(root, notebook))
    latest = {
        row[0]: row[1]
        for row in handle.workspace.store.rows(
            "SELECT name, max(version) FROM prompt_versions GROUP BY name"
        )
    }
    return {
        "items": [
            {
                "cell_id": cell,
                "prompt": run.prompt,
                "version": run.version,
                "latest": latest.get(run.prompt, run.version),
                "trace_id": run.trace_id,
            }
            for cell, run in runs.items()
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
