"""Rows for a baseline or a window: from the store in batches, or from data; memory does not grow with their number.

Where there are more rows than are kept, whole sessions are kept by the hash of their name: a sample that is
drawn by chance, is the same whenever it is drawn, and tears no session apart.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.monitor.drift.features import Row, input_of, row_of_span
from llmops_jupyter.monitor.drift.sample import TEXTS, Sample
from llmops_jupyter.tracing import Traces, names, values
from llmops_jupyter.tracing.messages import load_messages

if TYPE_CHECKING:
    import sqlite3

    import numpy as np
    from numpy.typing import NDArray

BACK_NS = 1_000_000_000
# What has run for longer will hardly end.
RUNNING_NS = 3_600_000_000_000
# Told at most this many rows apart.
Tell = Callable[[int], None]


def hash_of(name: str) -> int:
    """Where a session stands in the order by which sessions are kept."""
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")


@dataclass
class Keeper:
    """Keeps at most `most` rows, of the sessions with the smallest hashes."""

    most: int
    seen: int = 0
    held: int = 0
    limit: int = 1 << 64
    _rows: dict[int, list[tuple[int, Row]]] = field(default_factory=dict)
    _heap: list[int] = field(default_factory=list)

    def wants(self, session: str | None, row_id: str) -> bool:
        """Count a row, and say whether it is worth reading."""
        self.seen += 1
        return hash_of(session or row_id) < self.limit

    def add(self, row: Row, name: str | None = None) -> None:
        """Keep a row that was wanted, by that name; the session with the largest hash goes where there are too many."""
        key = hash_of(row.session or name or row.id)
        if key >= self.limit:
            return
        if key not in self._rows:
            self._rows[key] = []
            heapq.heappush(self._heap, -key)
        elif len(self._rows) == 1 and self.held >= self.most:
            return  # one session alone is longer than all that is kept
        self._rows[key].append((self.seen, row))
        self.held += 1
        while self.held > self.most and len(self._rows) > 1:
            self.limit = -heapq.heappop(self._heap)
            self.held -= len(self._rows.pop(self.limit))

    def rows(self) -> list[Row]:
        """The kept rows in the order in which they came."""
        found = [pair for rows in self._rows.values() for pair in rows]
        return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def first_sessions(sample: Sample, most: int) -> NDArray[np.int64]:
    """Rows of a sample, at most about `most`, of the sessions with the smallest hashes; in their order."""
    import numpy as np

    if len(sample) <= most:
        return np.arange(len(sample))
    keys = np.asarray([hash_of(sample.unit(i)) for i in range(len(sample))], np.uint64)
    order = np.argsort(keys, kind="stable")
    last = keys[order[most - 1]]
    whole = keys[order[most]] != last  # else the last session is cut, and is left out
    chosen = np.flatnonzero(keys <= last if whole else keys < last)
    return chosen if len(chosen) else np.sort(order[:most])


def from_traces(
    traces: Traces,
    filters: Mapping[str, Any],
    most: int,
    *,
    newest: int | None = None,
    after: int = 0,
    limit: int | None = None,
    tell: Tell | None = None,
) -> tuple[Sample, int]:
    """The traces that fit, or runs of prompts in them, and the place of the last one that was looked at.

    What was made for an evaluation is no traffic, and is not among them.

    Args:
        traces: of the workspace.
        filters: as for `Traces.runs`.
        most: rows to keep.
        newest: only so many of the newest.
        after: only those behind this place.
        limit: stop after about so many, and before one that still runs; what is left comes next time.
        tell: told how many were read.
    """
    keeper, place, latest, backwards = Keeper(most), after, 0, 0
    oldest_running = time.time_ns() - RUNNING_NS
    waits = False
    for batch in traces.runs(after=after, newest=newest, evaluations=False, **filters):
        if waits or (limit is not None and keeper.seen >= limit):
            break
        spans = []
        for span in batch:
            if span["status"] == "open":
                # Who passed over what still runs would never see the slow ones.
                waits = limit is not None and span["start_ns"] > oldest_running
                if waits:
                    break
                continue
            place = span["id"]
            backwards += span["start_ns"] < latest - BACK_NS
            latest = max(latest, span["start_ns"])
            if keeper.wants(span["session"], span["trace_id"]):
                spans.append(span)
        for row in _rows(traces, spans):
            keeper.add(row)
        if tell is not None:
            tell(keeper.seen)
    notes = []
    if backwards:
        notes.append(
            f"the clock went back {backwards} times: rows are taken in the order in which they came"
        )
    return sample_of(keeper.rows(), seen=keeper.seen, from_traces=True, notes=notes), place


def earlier_sessions(
    traces: Traces, sessions: Sequence[str], place: int, filters: Mapping[str, Any]
) -> set[str]:
    """Which of the sessions have a trace that fits at or before a place of the store.

    Args:
        traces: of the workspace.
        sessions: to look up; each is one step in an index, whatever the number of traces.
        place: of the last trace that counts as earlier.
        filters: as for `Traces.runs`.
    """
    fits = traces.fitting(filters)
    has = " OR ".join(
        "EXISTS (SELECT 1 FROM spans s WHERE s.session = value AND s.session IS NOT NULL "
        f"AND s.id <= ? AND {where})"
        for where, _ in fits
    )
    rows = traces.store.rows(
        f"SELECT value FROM json_each(?) WHERE {has}",
        (json.dumps(list(sessions)), *(v for _, given in fits for v in (place, *given))),
    )
    return {str(row[0]) for row in rows}


def _rows(traces: Traces, spans: Sequence[sqlite3.Row]) -> Iterator[Row]:
    ids = [str(span["trace_id"]) for span in spans]
    scores, retrievals = _scores(traces, ids), _retrievals(traces, ids)
    connection, clean = traces.store.read(), traces.tracer.clean_text
    for span in spans:
        attributes = values.read(span["attributes"])
        given = input_of(attributes, _last_user(connection, span["input_message"]))
        made = _answer(connection, span, attributes)
        texts = (
            None if given is None else clean(given),
            None if made is None else clean(made),
        )
        trace_id = str(span["trace_id"])
        # What a run in a function has retrieved stands below it; of a whole trace the first is taken.
        below = None if span["parent_id"] is None else str(span["span_id"])
        yield row_of_span(
            span, span["status"], texts, scores.get(trace_id, {}), retrievals.get((trace_id, below))
        )


def _last_user(connection: sqlite3.Connection, last: str | None) -> str | None:
    while last is not None:
        row = connection.execute(
            "SELECT parent, role FROM messages WHERE hash = ?", (last,)
        ).fetchone()
        if row is None:
            return None
        if row["role"] == "user":
            return load_messages(connection, last, row["parent"])[-1].content
        last = row["parent"]
    return None


def _answer(
    connection: sqlite3.Connection, span: sqlite3.Row, attributes: Mapping[str, Any]
) -> str | None:
    if span["output_message"] is not None:
        found = load_messages(connection, span["output_message"], span["input_message"])
        return "\n".join(message.content for message in found)
    made = attributes.get(names.OUTPUT_VALUE)
    return None if made is None else str(made)


def _scores(traces: Traces, ids: Sequence[str]) -> dict[str, dict[str, float | str]]:
    """Valid scores by trace and name; the mean where several sources gave a number."""
    found: dict[str, dict[str, float | str]] = {}
    sums: dict[tuple[str, str], list[float]] = {}
    rows = traces.store.rows(
        f"SELECT trace_id, name, value, label FROM scores WHERE valid AND trace_id IN ({_marks(ids)})",
        ids,
    )
    for row in rows:
        if row["value"] is None and row["label"]:
            found.setdefault(row["trace_id"], {})[row["name"]] = str(row["label"])
        elif row["value"] is not None:
            sums.setdefault((row["trace_id"], row["name"]), []).append(float(row["value"]))
    for (trace_id, name), given in sums.items():
        found.setdefault(trace_id, {})[name] = sum(given) / len(given)
    return found


def _retrievals(traces: Traces, ids: Sequence[str]) -> dict[tuple[str, str | None], float]:
    """The score of the passage that was found first, by trace, and by trace and the span that looked for it."""
    found: dict[tuple[str, str | None], float] = {}
    rows = traces.store.rows(
        "SELECT trace_id, parent_id, attributes FROM spans WHERE op = 'retrieval' "
        f"AND trace_id IN ({_marks(ids)}) ORDER BY id",
        ids,
    )
    for row in rows:
        documents = values.read(row["attributes"]).get("gen_ai.retrieval.documents")
        if isinstance(documents, list) and documents and isinstance(documents[0], Mapping):
            first = documents[0]
            score = first.get("cosine") if first.get("cosine") is not None else first.get("score")
            if isinstance(score, int | float):
                found.setdefault((row["trace_id"], None), float(score))
                found.setdefault((row["trace_id"], row["parent_id"]), float(score))
    return found


def _marks(ids: Sequence[str]) -> str:
    return ",".join("?" * len(ids))


def sample_of(
    rows: Sequence[Row], *, seen: int, from_traces: bool, notes: Sequence[str] = ()
) -> Sample:
    """Columns of rows; what a row lacks is missing."""
    import numpy as np

    numeric = sorted({name for row in rows for name in row.numbers})
    kinds = sorted({name for row in rows for name in row.categories})
    said = list(notes)
    if seen > len(rows):
        said.append(f"{len(rows):,} of {seen:,} rows are kept: whole sessions, drawn by chance")
    missing = float("nan")
    inner = tuple(row.span for row in rows)
    return Sample(
        ids=tuple(row.id for row in rows),
        sessions=tuple(row.session for row in rows),
        times=np.asarray([row.at for row in rows], np.int64),
        numbers={
            name: np.asarray([row.numbers.get(name, missing) for row in rows]) for name in numeric
        },
        categories={name: tuple(row.categories.get(name) for row in rows) for name in kinds},
        texts={
            name: tuple(row.texts.get(name, "") for row in rows)
            for name in TEXTS
            if any(name in row.texts for row in rows)
        },
        from_traces=from_traces,
        seen=seen,
        notes=tuple(said),
        spans=inner if any(inner) else (),
    )


def check_limit(limit: Any) -> None:
    """Check that a number of rows or reports is one.

    Raises:
        OptionError: it is no whole number from 1.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise OptionError(f"limit is a whole number from 1, not {limit!r}.")


def check_size(sample: Sample, least: int, what: str, next_step: str) -> Sample:
    """The sample itself, if it has rows enough.

    Raises:
        DataError: it is empty, or too small to say anything.
    """
    if not len(sample):
        raise DataError(f"The {what} is empty: no rows fit. {next_step}")
    if len(sample) < least:
        raise DataError(
            f"The {what} has {len(sample)} rows, and at least {least} are needed. {next_step}"
        )
    return sample
