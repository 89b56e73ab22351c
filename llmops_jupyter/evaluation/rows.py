"""Rows that variants are evaluated on, with the hash by which a row is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.data import Dataset, Datasets
from llmops_jupyter.data.values import canonical, digest, plain
from llmops_jupyter.errors import DataError, UnknownNameError, did_you_mean
from llmops_jupyter.prompts.rows import Rows, read_rows

EXPECTED = "expected"


@dataclass(frozen=True)
class EvaluationRow:
    """One row: `digest` is that of its values, whatever its id is."""

    row_id: str
    values: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class EvaluationRows:
    """Rows in their order; `name` and `version` are those of the data set, where they are one."""

    rows: tuple[EvaluationRow, ...]
    name: str = ""
    version: int | None = None

    @property
    def ref(self) -> str:
        """The data set, or how many rows there are."""
        return f"{self.name}@{self.version}" if self.name else f"{len(self.rows)} rows"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.rows for name in row.values))

    @property
    def content_hash(self) -> str:
        found = hashlib.sha256()
        for row in self.rows:
            found.update(f"{row.row_id}\t{row.digest}\n".encode())
        return found.hexdigest()

    def column(self, name: str, option: str) -> str:
        """The name itself, if a row has such a column; see `check_column`."""
        return check_column(name, self.columns, option)

    def expected_column(self, name: str | None) -> str:
        """The column of expected answers: the one that is named, else 'expected' if there is one, else ''."""
        if name:
            return self.column(name, "expected")
        return EXPECTED if EXPECTED in self.columns else ""


def check_column(name: str, columns: Sequence[str], option: str) -> str:
    """The name itself, if there is such a column.

    Raises:
        DataError: there is none.
    """
    if name in columns:
        return name
    raise DataError(
        f"{option} names the column {name!r}, which no row has.{did_you_mean(name, columns)} "
        f"Columns: {', '.join(columns) or 'none'}."
    )


def read(data: Any, datasets: Datasets, clean: Callable[[Any], Any]) -> EvaluationRows:
    """Rows of a data set, a reference to one, a list of mappings or a DataFrame.

    Args:
        data: the rows.
        datasets: where references are looked up.
        clean: what is applied to values before they are kept; see `Tracer.clean`.

    Raises:
        DataError: there are none, two have the same id, or a value cannot be kept.
        UnknownNameError: there is no such data set.
    """
    if isinstance(data, EvaluationRows):
        return data
    if isinstance(data, str):
        data = _found(data, datasets)
    if isinstance(data, Dataset):
        pairs = list(data.items())
        rows = tuple(EvaluationRow(i, row, digest(canonical(row))) for i, row in pairs)
        return EvaluationRows(rows, data.name, data.version)
    _refuse_duplicates(data)
    found = []
    for row_id, row in read_rows(data, datasets).pairs:
        values = clean({k: plain(v, f"row {row_id!r}, column {k!r}") for k, v in row.items()})
        found.append(EvaluationRow(row_id, values, digest(canonical(values))))
    if not found:
        raise DataError("There are no rows to evaluate on. Add some, or name a data set.")
    return EvaluationRows(tuple(found))


def _found(reference: str, datasets: Datasets) -> Dataset:
    try:
        return datasets.get(reference)
    except UnknownNameError:
        raise
    except ValueError as e:
        raise DataError(f"{reference!r} is no data set: {e}") from e


def _refuse_duplicates(data: Any) -> None:
    """Rows of a list or DataFrame whose own ids are not distinct."""
    if isinstance(data, Rows):
        return
    columns = getattr(data, "columns", None)
    if columns is not None:
        ids = list(data["id"]) if "id" in columns else []
    elif isinstance(data, list | tuple):
        ids = [row.get("id") for row in data if isinstance(row, Mapping)]
    else:
        return
    seen: dict[str, int] = {}
    for number, row_id in enumerate(ids, 1):
        if row_id is None:
            continue
        if str(row_id) in seen:
            raise DataError(
                f"Rows {seen[str(row_id)]} and {number} have the same id {row_id!r}. Give each row an id "
                "of its own, or leave the column out."
            )
        seen[str(row_id)] = number
