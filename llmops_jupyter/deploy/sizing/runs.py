"""Results of loads in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.errors import UnknownNameError
from llmops_jupyter.store import Store


def keep(store: Store, result: LoadResult) -> LoadResult:
    """The result with its number, once it is in the store."""
    with store.write() as conn:
        cursor = conn.execute(
            "INSERT INTO load_runs(target, url, model, status, started_at, result) VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(result.target, result.url, result.model, result.status, result.started_at),
                json.dumps(result.as_dict(), separators=(",", ":")),
            ),
        )
        return replace(result, id=cursor.lastrowid)


def get(store: Store, given: int | str | None = None) -> LoadResult:
    """A result by its number or by what was asked (the newest of it), or the newest of all.

    Raises:
        UnknownNameError: there is none.
    """
    text = "" if given is None else str(given)
    where, parameters = "", ()  # type: tuple[str, tuple[Any, ...]]
    if text.isdigit():
        where, parameters = "WHERE id = ?", (int(text),)
    elif text:
        where, parameters = "WHERE target = ? OR url = ? OR model = ?", (text, text, text)
    row = store.row(
        f"SELECT id, result FROM load_runs {where} ORDER BY id DESC LIMIT 1", parameters
    )
    if row is None:
        what = f"of {text!r} " if text else ""
        raise UnknownNameError(
            f"No load {what}was measured yet. Measure one: %deploy bench ADDRESS"
        )
    return replace(LoadResult.from_dict(json.loads(row["result"])), id=row["id"])


def rows(store: Store, limit: int = 20) -> list[Mapping[str, Any]]:
    """The newest results, a row each."""
    found = store.rows(
        "SELECT id, target, model, status, started_at FROM load_runs ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [dict(row) for row in found]
