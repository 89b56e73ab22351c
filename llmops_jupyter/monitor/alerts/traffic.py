"""The traces of a window with one value each, read in small batches from the store."""

from __future__ import annotations

import hashlib
import heapq
import json
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmops_jupyter.guard.refusing import refuses
from llmops_jupyter.models.prices import Assumptions, assumptions_of
from llmops_jupyter.monitor.alerts.ages import Window
from llmops_jupyter.monitor.alerts.catalogue import Measure
from llmops_jupyter.monitor.alerts.guarded import GUARDRAIL, verdicts_of
from llmops_jupyter.monitor.alerts.windows import Clause, bounds
from llmops_jupyter.monitor.cost.pricing import dollars_of, energy_of
from llmops_jupyter.records import Figure
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import names, values

# Rows of a batch; between two of them whoever reads can let others go first.
BATCH = 500
SHOWN = 5
# Calls of these are on this machine, and cost what the user says of it.
HERE = ("llama.cpp", "mlx")
COLUMNS = (
    "s.id, s.trace_id, s.start_ns, s.end_ns, s.first_token_ns, s.status, s.error_type, s.input_tokens, "
    "s.output_tokens, s.cost"
)
# Whether a text declines takes a millisecond; windows overlap, so the next look asks again of most texts.
REMEMBERED = 200_000
_decided: dict[bytes, float] = {}
TEXT = "(SELECT m.parts FROM messages m WHERE m.hash = s.output_message) AS parts"
Pause = Callable[[], None]


def no_pause() -> None:
    """Go on at once."""


class Values:
    """One value for each trace of a window, in the order in which the traces ended.

    Args:
        measure: what the values are of.
        bad_above: whether high values are the bad ones, of which examples are kept.
    """

    def __init__(self, measure: Measure, *, bad_above: bool) -> None:
        self.measure = measure
        self._sign = 1.0 if bad_above else -1.0
        self._values, self._ends = array("d"), array("q")
        self._worst: list[tuple[float, int, str]] = []
        self.traces = 0

    def add(self, row: sqlite3.Row, value: float | None) -> None:
        """Take the value of a trace; None where it has none."""
        self.traces += 1
        if value is None:
            return
        self._values.append(value)
        self._ends.append(row["end_ns"] or row["start_ns"])
        if self.measure.rate and not value:
            return
        entry = (self._sign * value, row["id"], row["trace_id"])
        if len(self._worst) < SHOWN:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)

    def worst(self) -> tuple[str, ...]:
        """Ids of the traces with the worst values; of equal ones the newest."""
        ordered = (trace_id for _, _, trace_id in sorted(self._worst, reverse=True))
        return tuple(dict.fromkeys(ordered))

    def ordered(self) -> tuple[Any, Any]:
        """Values and ends as arrays."""
        import numpy as np

        found, ends = np.array(self._values, dtype=float), np.array(self._ends, dtype=np.int64)
        order = np.argsort(ends, kind="stable")
        return found[order], ends[order]


def collect(
    store: Store,
    measure: Measure,
    window: Window,
    filters: Mapping[str, Any],
    *,
    now_ns: int,
    bad_above: bool = True,
    pause: Pause = no_pause,
) -> Values:
    """The values of the traces of a window that are over; evaluations and golden runs are no traffic.

    Args:
        store: with the traces.
        measure: what is taken of each.
        window: that ends now.
        filters: prompt (a name, or a name and a version), model, notebook, session, source.
        now_ns: the time now.
        bad_above: whether high values are the bad ones.
        pause: called between batches.
    """
    made = Values(measure, bad_above=bad_above)
    clause, first = bounds(store, measure, window, filters, now_ns)
    for rows in _batches(store, measure, clause, first, pause):
        for row, value in zip(rows, _values(store, measure, rows), strict=True):
            if measure.name == "denied_rate" and value is None:
                continue
            made.add(row, value)
    return made


def _batches(
    store: Store,
    measure: Measure,
    clause: Clause,
    first: int,
    pause: Pause,
) -> Iterator[list[sqlite3.Row]]:
    columns = COLUMNS
    if measure.texts:
        columns += f", {TEXT}, s.partial, s.attributes"
    elif measure.name == "cut_rate":
        columns += ", s.attributes"
    elif measure.name == "cost_usd":
        columns += ", s.provider, s.model, s.busy_s, s.energy_j"
    after = first - 1
    while True:
        rows = store.rows(
            f"SELECT {columns} FROM spans s WHERE {clause.where} AND s.id > ? ORDER BY s.id LIMIT ?",
            (*clause.parameters, after, BATCH),
        )
        if rows:
            yield rows
        if len(rows) < BATCH:
            return
        after = rows[-1]["id"]
        pause()


def _values(store: Store, measure: Measure, rows: Sequence[sqlite3.Row]) -> list[float | None]:
    if measure.name == "score":
        return _scores(store, measure.argument, rows)
    if measure.name == "denied_rate":
        return _denied(store, rows)
    if measure.name == "cost_usd":
        return _costs(rows)
    return [_VALUES[measure.name](row) for row in rows]


def _scores(store: Store, name: str, rows: Sequence[sqlite3.Row]) -> list[float | None]:
    """The mean of a trace's valid scores of a name."""
    marks = ",".join("?" * len(rows))
    found = store.rows(
        "SELECT trace_id, avg(value) AS value FROM scores WHERE valid AND name = ? AND value IS NOT NULL "
        f"AND trace_id IN ({marks}) GROUP BY trace_id",
        (name, *(row["trace_id"] for row in rows)),
    )
    by_trace = {row["trace_id"]: float(row["value"]) for row in found}
    return [by_trace.get(row["trace_id"]) for row in rows]


def _denied(store: Store, rows: Sequence[sqlite3.Row]) -> list[float | None]:
    """Whether a guard denied a text of the trace; None where none looked at it."""
    marks = ",".join("?" * len(rows))
    by_trace: dict[str, float] = {}
    for row in store.rows(
        f"SELECT trace_id, attributes FROM spans WHERE op = ? AND trace_id IN ({marks})",
        (GUARDRAIL, *(row["trace_id"] for row in rows)),
    ):
        denied = any(v.decision == "deny" for v in verdicts_of(values.read(row["attributes"])))
        by_trace[row["trace_id"]] = max(by_trace.get(row["trace_id"], 0.0), float(denied))
    return [by_trace.get(row["trace_id"]) for row in rows]


def text_of(row: sqlite3.Row) -> str:
    """What a trace answered."""
    if row["parts"]:
        return "".join(str(p.get("content", "")) for p in json.loads(row["parts"]))
    return row["partial"] or str(values.read(row["attributes"]).get(names.OUTPUT_VALUE, ""))


def _failed(row: sqlite3.Row) -> float:
    return float(row["status"] == "error" or row["error_type"] == "ProcessDied")


def _cut(row: sqlite3.Row) -> float:
    reasons = values.read(row["attributes"]).get(names.FINISH_REASONS)
    return float(reasons == ["length"])


def _refused(row: sqlite3.Row) -> float | None:
    text = text_of(row)
    if not text.strip():
        return None
    key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
    if key not in _decided:
        if len(_decided) >= REMEMBERED:
            _decided.clear()
        _decided[key] = float(refuses(text))
    return _decided[key]


def _seconds(begin: int | None, end: int | None) -> float | None:
    return None if begin is None or end is None or end < begin else (end - begin) / 1e9


def _speed(row: sqlite3.Row) -> float | None:
    taken = _seconds(row["first_token_ns"] or row["start_ns"], row["end_ns"])
    return row["output_tokens"] / taken if taken and row["output_tokens"] else None


def _number(name: str) -> Callable[[sqlite3.Row], float | None]:
    return lambda row: None if row[name] is None else float(row[name])


def _costs(rows: Sequence[sqlite3.Row]) -> list[float | None]:
    assumed = {model: assumptions_of(model or "") for model in {row["model"] for row in rows}}
    return [_dollars(row, assumed[row["model"]]) for row in rows]


def _dollars(row: sqlite3.Row, assumed: Assumptions | None) -> float | None:
    """What a call costs, as costs are shown: by the table of prices, or by what the user says of this machine."""
    if row["cost"] is not None:
        return float(row["cost"])
    if row["provider"] not in HERE:
        return None
    taken = row["busy_s"] if row["busy_s"] is not None else _latency(row)
    if taken is None:
        return None
    counted = row["energy_j"]
    energy = (
        energy_of(taken, None, assumed) if counted is None else Figure(counted, "J", "measured")
    )
    dollars = dollars_of(taken, energy, assumed)
    return None if dollars is None else dollars.value


def _latency(row: sqlite3.Row) -> float | None:
    return _seconds(row["start_ns"], row["end_ns"])


def _first_token(row: sqlite3.Row) -> float | None:
    return _seconds(row["start_ns"], row["first_token_ns"])


_VALUES: Mapping[str, Callable[[sqlite3.Row], float | None]] = {
    "error_rate": _failed,
    "refusal_rate": _refused,
    "empty_rate": lambda row: None if _failed(row) else float(not text_of(row).strip()),
    "cut_rate": _cut,
    "p50_latency_s": _latency,
    "p95_latency_s": _latency,
    "p50_first_token_s": _first_token,
    "p95_first_token_s": _first_token,
    "tokens_per_s": _speed,
    "input_tokens": _number("input_tokens"),
    "output_tokens": _number("output_tokens"),
    "calls": lambda _: 1.0,
}
