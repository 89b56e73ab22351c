"""Looks at the same comparison: which kind of interval a look may have, and how many there were.

Whoever adds rows until a difference shows finds one where there is none. So the error that a comparison may
make (5 % at 95 % confidence) is spent once for all looks at it: the first, with a plain interval, takes 4/5;
all later ones, on more rows, share the rest by intervals that hold at every look. A comparison that was
announced as the only one (`final`) takes all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.store import Store

FIRST = 0.8
# The mixture of a later look is narrowest at so many times the rows of the first one.
PLANNED = 3


@dataclass(frozen=True)
class Look:
    """Where a comparison stands among those of the same variants by the same metric.

    Args:
        number: 1 for the first look.
        sequential: the interval must hold at every look.
        confidence: of the interval of this look, so that all looks together have what was asked for.
        planned: rows for which the interval of later looks is narrowest.
        order: hashes of rows seen earlier, in the order in which they were first seen.
        after_final: an earlier look was announced as the only one.
    """

    number: int
    sequential: bool
    confidence: float
    planned: int
    order: tuple[str, ...] = ()
    after_final: bool = False


def family_of(a: EvaluationRun, b: EvaluationRun, identifier: str) -> str:
    """What makes two comparisons looks at the same thing, whichever is named first."""
    keys = sorted([a.variant_key, b.variant_key])
    return hashlib.sha256("\n".join([*keys, identifier]).encode()).hexdigest()


def rows_hash(rows: Sequence[str], outputs: Sequence[int]) -> str:
    """Of a set of rows with the answers to them."""
    parts = [*sorted(rows), *map(str, sorted(outputs))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def look(
    store: Store,
    family: str,
    rows: Sequence[str],
    outputs: Sequence[int],
    *,
    confidence: float,
    final: bool = False,
    among: int = 1,
) -> Look:
    """Which look a comparison on these rows is.

    Args:
        store: with the earlier ones.
        family: see `family_of`.
        rows: hashes of the rows that are compared.
        outputs: the answers of both; others to the same rows make another look.
        confidence: that all looks together are to have.
        final: no rows will be added after this look.
        among: comparisons that are made at once; later looks share the error between them.
    """
    alpha = 1 - confidence
    earlier = store.rows(
        "SELECT run_a, n, rows_hash, final FROM comparisons WHERE family = ? ORDER BY id", (family,)
    )
    now, mine = rows_hash(rows, outputs), set(rows)
    seen: dict[str, None] = {}
    hashes: list[str] = []
    first_n, announced = len(rows), False
    for row in earlier:
        if row["rows_hash"] in hashes:
            continue
        found = [
            r[0]
            for r in store.rows(
                "SELECT row_hash FROM evaluation_items WHERE run_id = ? AND repetition = 0 "
                "ORDER BY position",
                (row["run_a"],),
            )
        ]
        if not mine.intersection(found):
            continue
        if not hashes:
            first_n, announced = row["n"], bool(row["final"])
        hashes.append(row["rows_hash"])
        if row["rows_hash"] == now:
            break
        seen.update(dict.fromkeys(found))
    number = hashes.index(now) + 1 if now in hashes else len(hashes) + 1
    if number == 1:
        spent = alpha if final else FIRST * alpha
        return Look(1, False, 1 - spent, PLANNED * len(rows))
    left = (1 - FIRST) * alpha / max(1, among)
    return Look(number, True, 1 - left, PLANNED * first_n, tuple(seen), announced)


def keep(
    store: Store,
    family: str,
    a: EvaluationRun,
    b: EvaluationRun,
    metric: str,
    rows: Sequence[str],
    outputs: Sequence[int],
    *,
    final: bool,
    result: Mapping[str, Any],
) -> int:
    """Keep a look; returns how many looks there were at this data set, this one included."""
    with store.write() as conn:
        conn.execute(
            "INSERT INTO comparisons(family, run_a, run_b, metric, n, rows_hash, final, data_name, "
            "data_hash, result, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(family, a.id, b.id, metric, len(set(rows))),
                *(rows_hash(rows, outputs), int(final)),
                *(a.data_name, a.data_hash, json.dumps(result, ensure_ascii=False), store.now()),
            ),
        )
    return looks_at(store, a)


def looks_at(store: Store, run: EvaluationRun) -> int:
    """How many different comparisons were looked at on the data set of a run, of any version.

    Each one makes it less of a held-out set: what is chosen by it fits it.
    """
    where, value = ("data_name", run.data_name) if run.data_name else ("data_hash", run.data_hash)
    row = store.row(
        f"SELECT count(*) FROM (SELECT DISTINCT family, rows_hash FROM comparisons WHERE {where} = ?)",
        (value,),
    )
    return int(row[0]) if row else 0
