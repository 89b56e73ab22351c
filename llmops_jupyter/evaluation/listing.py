"""Runs as lists show them, without their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.store import Store


def listed(store: Store, limit: int = 50) -> Sequence[Mapping[str, Any]]:
    """The latest runs, newest first, without their answers."""
    rows = store.rows("SELECT * FROM evaluation_runs ORDER BY id DESC LIMIT ?", (limit,))
    return [
        {
            "run": row["id"],
            "variant": row["label"],
            "data": f"{row['data_name']}@{row['data_version']}" if row["data_name"] else "",
            "rows": row["n_rows"],
            "metrics": ", ".join(m["name"] for m in json.loads(row["metrics"])),
            "at": row["started_at"][:16].replace("T", " "),
            "state": "" if row["finished_at"] else "broken off",
        }
        for row in rows
    ]


@dataclass(frozen=True)
class Kept:
    """A run as a list shows it: `kind` is what was run, 'prompt', 'template', 'function' or 'column'."""

    id: int
    label: str
    kind: str
    data: str
    started_at: str
    finished_at: str | None
    rows: int
    metrics: tuple[str, ...]


_KINDS = {"prompt": "prompt", "content": "template", "function": "function", "column": "column"}


def kept(store: Store, before: int | None = None, limit: int = 20) -> list[Kept]:
    """The runs before a number, newest first."""
    rows = store.rows(
        "SELECT * FROM evaluation_runs WHERE id < ? ORDER BY id DESC LIMIT ?",
        (2**63 - 1 if before is None else before, limit),
    )
    return [
        Kept(
            row["id"],
            row["label"],
            next((word for key, word in _KINDS.items() if key in json.loads(row["variant"])), ""),
            f"{row['data_name']}@{row['data_version']}" if row["data_name"] else "",
            row["started_at"],
            row["finished_at"],
            row["n_rows"],
            tuple(facts["name"] for facts in json.loads(row["metrics"])),
        )
        for row in rows
    ]
