"""Reports of preparations in the store, by the version that each made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llmops_jupyter.data.preparing.prepared import Prepared
from llmops_jupyter.data.values import canonical, digest
from llmops_jupyter.errors import UnknownNameError

if TYPE_CHECKING:
    from llmops_jupyter.data.stage import Datasets


def keep(data: Datasets, prepared: Prepared) -> None:
    """Keep a report; that of the same recipe on the same source takes the place of the older one."""
    key = digest(canonical({"source": prepared.source, "recipe": prepared.recipe}))
    dropped = prepared.dropped.ref if prepared.dropped is not None else None
    with data.store.write() as conn:
        conn.execute(
            # A report that takes the place of an older one becomes the newest.
            "INSERT OR REPLACE INTO preparations(name, version, recipe_hash, dropped, report, at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(prepared.dataset.name, prepared.dataset.version, key, dropped),
                *(json.dumps(prepared.report(), ensure_ascii=False), data.store.now()),
            ),
        )


def find(data: Datasets, reference: str) -> Prepared:
    """The newest report of a version.

    Raises:
        UnknownNameError: there is no such version, or it was not made by a preparation.
    """
    dataset = data.get(reference)
    row = data.store.row(
        "SELECT dropped, report FROM preparations WHERE name = ? AND version = ? "
        "ORDER BY id DESC LIMIT 1",
        (dataset.name, dataset.version),
    )
    if row is None:
        known = data.store.rows("SELECT DISTINCT name FROM preparations ORDER BY name")
        listed = ", ".join(r[0] for r in known) or "none yet"
        raise UnknownNameError(
            f"{dataset.ref} was not made by %data prepare. Prepared data sets: {listed}."
        )
    dropped = data.get(row["dropped"]) if row["dropped"] else None
    return Prepared(dataset, dropped, **json.loads(row["report"]))
