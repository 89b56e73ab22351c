"""Lists of traces in parts: by the root span's id, or by the newest span that has the words.

Keys, not offsets: traces that come meanwhile neither shift a part nor show twice, and the thousandth part
costs what the first does.
"""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from llmops_jupyter.errors import OptionError
from llmops_jupyter.store import Store
from llmops_jupyter.store.faults import explain
from llmops_jupyter.tracing.records import Facets
from llmops_jupyter.tracing.rows import SUMMARY
from llmops_jupyter.tracing.search import index_waiting, match_expression, waiting_with

Condition = tuple[str, Sequence[object]]
# The largest id that SQLite has.
LAST = 2**63 - 1
BATCH = 200
MOST_VALUES = 100
_CURSOR = re.compile(r"([ts])([0-9a-f]{1,16})")


def cursor(place: int, *, searched: bool = False) -> str:
    """What leads to the part after a place."""
    return f"{'s' if searched else 't'}{place:x}"


def place_of(after: str | None, *, searched: bool) -> int:
    """The place that a cursor stands for.

    Raises:
        OptionError: it is none, or one of a list of the other kind.
    """
    if after is None:
        return LAST
    found = _CURSOR.fullmatch(after)
    if found is None or (found[1] == "s") is not searched or int(found[2], 16) > LAST:
        raise OptionError(
            f"{after!r:.60} is no place in this list. Begin again without a cursor, and take the next one from "
            "the answer."
        )
    return int(found[2], 16)


def newest(store: Store, condition: Condition, place: int, limit: int) -> list[sqlite3.Row]:
    """Rows of `SUMMARY` of the newest root spans before a place.

    The ids are found first: a row that is sorted away must not have its message read.
    """
    where, parameters = condition
    return store.rows(
        f"{SUMMARY} WHERE s.id IN (SELECT s.id FROM spans s WHERE s.parent_id IS NULL AND s.id < ? {where} "
        "ORDER BY s.id DESC LIMIT ?) ORDER BY s.id DESC",
        (place, *parameters, limit),
    )


def found(
    store: Store, text: str, condition: Condition, place: int, limit: int
) -> list[tuple[int, str]]:
    """Traces in which the words occur: the newest span of each that has them, and the trace's id."""
    expression = match_expression(text)
    index_waiting(store)
    waiting = waiting_with(store, expression) if store.read_only else []
    made: dict[str, int] = {}
    hits = _hits(store, expression, waiting, place)
    while len(made) < limit and (batch := list(islice(hits, BATCH))):
        for hit, trace in _fitting(store, batch, condition):
            if trace not in made and not _seen(store, expression, waiting, trace, place):
                made[trace] = hit
    return [(hit, trace) for trace, hit in islice(made.items(), limit)]


def _hits(store: Store, expression: str, waiting: Sequence[int], place: int) -> Iterator[int]:
    """Spans with the words before a place, newest first, those that wait for the index among them."""
    try:
        indexed = store.read().execute(
            "SELECT rowid FROM spans_text WHERE spans_text MATCH ? AND rowid < ? ORDER BY rowid DESC",
            (expression, place),
        )
        both = heapq.merge(
            (int(row[0]) for row in indexed),
            sorted((i for i in waiting if i < place), reverse=True),
            reverse=True,
        )
        last = -1
        for hit in both:
            if hit != last:
                last = hit
                yield hit
    except sqlite3.Error as e:
        raise explain(e, store.path) from e


def _fitting(store: Store, hits: Sequence[int], condition: Condition) -> list[tuple[int, str]]:
    where, parameters = condition
    rows = store.rows(
        "SELECT r.id, r.trace_id FROM spans r JOIN spans s ON s.trace_id = r.trace_id AND s.parent_id IS NULL "
        f"WHERE r.id IN ({','.join('?' * len(hits))}) {where} ORDER BY r.id DESC",
        (*hits, *parameters),
    )
    return [(row[0], row[1]) for row in rows]


def _seen(store: Store, expression: str, waiting: Sequence[int], trace: str, place: int) -> bool:
    """Whether a part before had the trace already: by a span from `place` on; few traces have any there."""
    if place == LAST:
        return False
    later = [
        row[0]
        for row in store.rows("SELECT id FROM spans WHERE trace_id = ? AND id >= ?", (trace, place))
    ]
    if any(i in waiting for i in later):
        return True
    match = "SELECT 1 FROM spans_text WHERE spans_text MATCH ? AND rowid = ?"
    return any(store.row(match, (expression, i)) is not None for i in later)


def facets(store: Store, among: int) -> Facets:
    """Values of the newest traces, counted."""
    rows = store.rows(
        "SELECT prompt_name, model, notebook, session, trace_id FROM spans WHERE parent_id IS NULL "
        "ORDER BY id DESC LIMIT ?",
        (among,),
    )
    prompts, models, notebooks, sessions = (
        _frequent(Counter(row[i] for row in rows if row[i])) for i in range(4)
    )
    return Facets(prompts, models, notebooks, sessions, _frequent(_scores(store, among)))


def _scores(store: Store, among: int) -> Counter[str]:
    made: Counter[str] = Counter()
    for name, label, count in store.rows(
        "SELECT c.name, c.label, count(DISTINCT c.trace_id) FROM "
        "(SELECT trace_id FROM spans WHERE parent_id IS NULL ORDER BY id DESC LIMIT ?) n "
        "CROSS JOIN scores c ON c.trace_id = n.trace_id AND c.valid GROUP BY c.name, c.label",
        (among,),
    ):
        made[name] += count
        if label is not None:
            made[f"{name}={label}"] += count
    return made


def _frequent(counted: Counter[str]) -> Mapping[str, int]:
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(ordered[:MOST_VALUES])
