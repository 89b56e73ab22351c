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
from dataclasses import dataclass, replace
from typing import Any

from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.store import Store

FIRST = 0.8
# The mixture of a later look is narrowest at so many times the rows of the first one.
PLANNED = 3
# And at so many where there was none yet.
UNPLANNED = 600


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
        glance: it is not counted.
    """

    number: int
    sequential: bool
    confidence: float
    planned: int
    order: tuple[str, ...] = ()
    after_final: bool = False
    glance: bool = False


def family_of(a: EvaluationRun, b: EvaluationRun, identifier: str) -> str:
    """What makes two comparisons looks at the same thing, whichever is named first."""
    keys = sorted([a.variant_key, b.variant_key])
    return hashlib.sha256("\n".join([*keys, identifier]).encode()).hexdigest()


@dataclass(frozen=True)
class SeenRow:
    """A row of a comparison, with all by which it is known again: its values, its id, the answers to it.

    Args:
        row_hash: of its values.
        row_id: which means something within a named data set only.
        outputs: answers of both variants; the same ones where only a column was added that no prompt takes.
        scores: of both variants, whichever is named first.
    """

    row_hash: str
    row_id: str
    outputs: tuple[int, ...]
    scores: tuple[float, float]

    def seen(self) -> str:
        """What a look saw of it."""
        what = " ".join(map(str, self.outputs)) or self.row_hash
        low, high = sorted(self.scores)
        return f"{what}\t{low:.9g}\t{high:.9g}"


def rows_hash(rows: Sequence[SeenRow]) -> str:
    """Of what a look saw."""
    return hashlib.sha256("\n".join(sorted(row.seen() for row in rows)).encode()).hexdigest()


def look(
    store: Store,
    family: str,
    rows: Sequence[SeenRow],
    *,
    data_name: str = "",
    confidence: float,
    final: bool = False,
    among: int = 1,
) -> Look:
    """Which look a comparison on these rows is.

    Args:
        store: with the earlier ones.
        family: see `family_of`.
        rows: that are compared.
        data_name: the data set's name, if it has one.
        confidence: that all looks together are to have.
        final: no rows will be added after this look.
        among: comparisons that are made at once; later looks share the error between them.
    """
    alpha = 1 - confidence
    earlier = store.rows(
        "SELECT run_a, n, rows_hash, final FROM comparisons WHERE family = ? ORDER BY id", (family,)
    )
    now, mine = rows_hash(rows), _by_any_name(rows, data_name)
    seen: dict[str, None] = {}
    hashes: list[str] = []
    first_n, announced = len(rows), False
    for row in earlier:
        if row["rows_hash"] in hashes:
            continue
        found = _rows_of(store, row["run_a"], mine)
        if not any(shared for _, shared in found):
            continue
        if not hashes:
            first_n, announced = row["n"], bool(row["final"])
        hashes.append(row["rows_hash"])
        if row["rows_hash"] == now:
            break
        seen.update(dict.fromkeys(row_hash for row_hash, _ in found))
    number = hashes.index(now) + 1 if now in hashes else len(hashes) + 1
    if number == 1:
        spent = alpha if final else FIRST * alpha
        return Look(1, False, 1 - spent, PLANNED * len(rows))
    left = (1 - FIRST) * alpha / max(1, among)
    return Look(number, True, 1 - left, PLANNED * first_n, tuple(seen), announced)


def glance(
    store: Store, family: str, rows: Sequence[SeenRow], *, data_name: str, confidence: float
) -> Look:
    """What may be said without counting a look, however often that is asked.

    Rows on which a look was kept are looked at again as in that look, which costs nothing. Others get the share of
    the error that later looks have, with an interval that holds at every one of them; where no look was kept yet,
    the mixture is the same for any number of rows, since it must not follow from what was seen.
    """
    kept = store.row(
        "SELECT final FROM comparisons WHERE family = ? AND rows_hash = ? ORDER BY id LIMIT 1",
        (family, rows_hash(rows)),
    )
    final = kept is not None and bool(kept[0])
    found = look(store, family, rows, data_name=data_name, confidence=confidence, final=final)
    if kept is not None:
        return found
    planned = found.planned if found.sequential else UNPLANNED
    left = (1 - FIRST) * (1 - confidence)
    return replace(found, sequential=True, confidence=1 - left, planned=planned, glance=True)


def _by_any_name(rows: Sequence[SeenRow], data_name: str) -> dict[object, str]:
    """The hashes of rows by all by which they are known again."""
    found: dict[object, str] = {}
    for row in rows:
        found[row.row_hash] = row.row_hash
        found.update(dict.fromkeys(row.outputs, row.row_hash))
        if data_name:
            found[data_name, row.row_id] = row.row_hash
    return found


def _rows_of(store: Store, run_id: int, mine: Mapping[object, str]) -> list[tuple[str, bool]]:
    """The rows of an earlier run: the hash that each has now, and whether it is here now."""
    found = []
    for row in store.rows(
        "SELECT i.row_hash, i.row_id, i.output_id, r.data_name FROM evaluation_items i "
        "JOIN evaluation_runs r ON r.id = i.run_id WHERE i.run_id = ? AND i.repetition = 0 "
        "ORDER BY i.position",
        (run_id,),
    ):
        names = (row["row_hash"], row["output_id"], (row["data_name"], row["row_id"]))
        known = next((mine[name] for name in names if name in mine), None)
        found.append((known or row["row_hash"], known is not None))
    return found


def keep(
    store: Store,
    family: str,
    a: EvaluationRun,
    b: EvaluationRun,
    metric: str,
    rows: Sequence[SeenRow],
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
                *(family, a.id, b.id, metric, len(rows)),
                *(rows_hash(rows), int(final)),
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
