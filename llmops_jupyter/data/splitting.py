"""Which part of a split each row goes to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.data.values import Row
from llmops_jupyter.errors import DataError, did_you_mean
from llmops_jupyter.store import aliases

Items = Sequence[tuple[str, Row]]


def check_parts(parts: Mapping[str, float]) -> None:
    """Raise a DataError unless there are two or more parts whose shares add up to 1."""
    for part, share in parts.items():
        aliases.check_name("part", part)
        if not (math.isfinite(share) and share > 0):
            raise DataError(f"The share of {part!r} must be more than 0; it is {share:g}.")
    total = sum(parts.values())
    if len(parts) < 2 or not math.isclose(total, 1.0, abs_tol=1e-6):
        raise DataError(
            f"The shares add up to {total:g}; a split has two or more parts that add up to 1, "
            "for example train=0.8 test=0.2."
        )


def assign(
    items: Items,
    parts: Mapping[str, float],
    *,
    seed: int,
    by: str | None,
    stratify: str | None,
) -> dict[str, str]:
    """The part of each row id; see `Datasets.split`."""
    if by is not None and stratify is not None:
        raise DataError("A split goes either by groups or by strata. Leave --by or --stratify out.")
    if stratify is not None:
        return _by_strata(items, parts, seed, stratify)
    chosen = {}
    for row_id, row in items:
        key = row_id if by is None else f"group {_column(row, by)!r}"
        chosen[row_id] = _part(parts, _share(seed, key))
    return chosen


def _by_strata(items: Items, parts: Mapping[str, float], seed: int, column: str) -> dict[str, str]:
    strata: dict[str, list[str]] = {}
    for row_id, row in items:
        strata.setdefault(repr(_column(row, column)), []).append(row_id)
    chosen = {}
    for ids in strata.values():
        ids.sort(key=lambda i: _share(seed, i))
        for place, row_id in enumerate(ids):
            chosen[row_id] = _part(parts, (place + 0.5) / len(ids))
    return chosen


def _column(row: Row, name: str) -> Any:
    if name not in row:
        raise DataError(
            f"There is no column {name!r}.{did_you_mean(name, row)} Columns: {', '.join(row)}."
        )
    return row[name]


def _share(seed: int, key: str) -> float:
    """A number in [0, 1) that follows from a seed and a key."""
    raw = hashlib.blake2b(f"{seed}\t{key}".encode(), digest_size=8).digest()
    return int.from_bytes(raw, "big") / 2**64


def _part(parts: Mapping[str, float], share: float) -> str:
    edge = 0.0
    for part, size in parts.items():
        edge += size
        if share < edge:
            return part
    return list(parts)[-1]
