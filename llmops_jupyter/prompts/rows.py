"""Rows that a prompt is run over, from what a notebook holds; each has an id of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.data import Dataset, Datasets
from llmops_jupyter.errors import DataError
from llmops_jupyter.records import Message


@dataclass(frozen=True)
class Rows:
    """Rows that were read already: pairs of id and values."""

    pairs: Sequence[tuple[str, Mapping[str, Any]]]


def read_rows(rows: Any, datasets: Datasets) -> Rows:
    """Rows of a list of mappings, a DataFrame, a data set or a reference to one.

    The id is the column ``id``, the index or the place; what is there twice gets a number behind it.

    Raises:
        DataError: they are none of these.
        UnknownNameError: there is no such data set.
    """
    if isinstance(rows, Rows):
        return rows
    if isinstance(rows, str):
        rows = datasets.get(rows)
    if isinstance(rows, Dataset):
        return Rows(list(rows.items()))
    to_dict = getattr(rows, "to_dict", None)
    if hasattr(rows, "columns") and callable(to_dict):
        return _distinct(list(map(str, rows.index)), to_dict("records"))
    if isinstance(rows, bytes | Mapping) or not isinstance(rows, Iterable):
        raise DataError(
            f"Rows are a list of mappings, a DataFrame or a data set, not {type(rows).__name__}."
        )
    found = list(rows)
    for row in found:
        if not isinstance(row, Mapping):
            raise DataError(
                f"A row is a mapping of names to values, not {type(row).__name__}. "
                'For instance [{"question": "Why?"}].'
            )
    return _distinct([str(row.get("id", i)) for i, row in enumerate(found)], found)


def _distinct(ids: Sequence[str], rows: Sequence[Mapping[Any, Any]]) -> Rows:
    taken, seen = set(ids), dict.fromkeys(ids, 0)
    pairs = []
    for row_id, row in zip(ids, rows, strict=True):
        seen[row_id] += 1
        name = row_id
        while seen[row_id] > 1 and name in taken:
            name = f"{row_id}-{seen[row_id]}"
            seen[row_id] += name in taken
        taken.add(name)
        pairs.append((name, {str(k): v for k, v in row.items()}))
    return Rows(pairs)


class Fingerprint:
    """A hash of what a prompt has become in each row; values that it does not use have no part in it.

    `rows` has the hash of each row.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.rows: list[str] = []

    def add(self, messages: Iterable[Message]) -> None:
        text = json.dumps([[m.role, m.content] for m in messages], ensure_ascii=True)
        self._hash.update(f"{text}\n".encode())
        self.rows.append(hashlib.sha256(text.encode()).hexdigest())

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
