"""A version of a data set, and the difference between two."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.records import load_pandas
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    import pandas

PREVIEW = 10


@dataclass(frozen=True)
class Dataset:
    """One version of a data set; its rows are read from the store when asked for."""

    name: str
    version: int
    content_hash: str
    n_rows: int
    columns: tuple[str, ...]
    source: str
    note: str
    created_at: str
    _store: Store = field(repr=False, compare=False)
    _key: int = field(repr=False, compare=False, default=0)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    def __len__(self) -> int:
        return self.n_rows

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each row's id and values, in order."""
        step, position = 1000, -1
        while True:
            rows = self._store.rows(
                "SELECT i.position, i.row_id, r.row FROM dataset_items i "
                "JOIN dataset_rows r ON r.hash = i.row_hash "
                "WHERE i.dataset_id = ? AND i.position > ? ORDER BY i.position LIMIT ?",
                (self._key, position, step),
            )
            for row in rows:
                yield row["row_id"], json.loads(row["row"])
            if len(rows) < step:
                return
            position = rows[-1]["position"]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row's values, in order."""
        for pair in self.items():
            yield pair[1]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a DataFrame with the row ids as its index; needs pandas."""
        pairs = list(self.items())
        frame: pandas.DataFrame = load_pandas().DataFrame(
            [row for _, row in pairs], index=[i for i, _ in pairs], columns=list(self.columns)
        )
        return frame

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        rows = []
        for row_id, row in self.items():
            rows.append({"row": row_id, **row})
            if len(rows) == PREVIEW:
                break
        said = f"{self.ref}: {self.n_rows:,} rows"
        return render.bundle(
            f"{said}\n{render.text_table(rows)}",
            f"<p>{render.escaped(said)}</p>{render.table_html(rows)}",
        )


@dataclass(frozen=True)
class Change:
    """A row that is in both versions with other values."""

    row_id: str
    columns: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True)
class DatasetDiff:
    """What changed from one version to another, by row id."""

    before: str
    after: str
    added: Mapping[str, Mapping[str, Any]]
    removed: Mapping[str, Mapping[str, Any]]
    changed: tuple[Change, ...]
    unchanged: int

    def summary(self) -> str:
        """The counts on one line."""
        return (
            f"{self.before} → {self.after}: {len(self.added)} added, {len(self.removed)} removed, "
            f"{len(self.changed)} changed, {self.unchanged} unchanged"
        )

    def _rows(self) -> list[dict[str, Any]]:
        rows = [
            {"": "+", "row": i, "change": json.dumps(r, ensure_ascii=False)}
            for i, r in self.added.items()
        ]
        rows += [
            {"": "-", "row": i, "change": json.dumps(r, ensure_ascii=False)}
            for i, r in self.removed.items()
        ]
        for change in self.changed:
            parts = [
                f"{c}: {change.before.get(c)!r} → {change.after.get(c)!r}" for c in change.columns
            ]
            rows.append({"": "~", "row": change.row_id, "change": "; ".join(parts)})
        return rows

    def __str__(self) -> str:
        rows = self._rows()
        return f"{self.summary()}\n{render.text_table(rows)}" if rows else self.summary()

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        page = f"<p>{render.escaped(self.summary())}</p>{render.table_html(self._rows())}"
        return render.bundle(str(self), page)
