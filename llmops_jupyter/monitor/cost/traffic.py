"""Calls of models over time: how many, how many failed, how long they took, what they cost.

One walk along the ids of the newest spans; what is held in memory is one number for each call, and of buckets with very
many calls only every so many of them.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmops_jupyter.monitor.alerts.windows import CALL, first_id
from llmops_jupyter.store import Store
from llmops_jupyter.store.faults import explain
from llmops_jupyter.tracing.names import MAP_ROWS_SQL

S = 1_000_000_000
STEPS = (60, 300, 900, 3_600, 4 * 3_600, 86_400, 7 * 86_400, 28 * 86_400)
MOST_BUCKETS = 120
# Durations of one bucket that percentiles are made of.
MOST_HELD = 20_000


@dataclass(frozen=True)
class Traffic:
    """The calls of one step of time.

    Args:
        at_ns: when it begins.
        calls: that have ended.
        errors: of them, those that ended otherwise than well.
        latency_p50_s: median seconds of calls of their own, not those of rows asked together; None without any.
        latency_p95_s: the same that 95 % are below.
        input_tokens: read.
        output_tokens: written.
        cost: US dollars by the table of prices; None where nothing is known of any call.
    """

    at_ns: int
    calls: int = 0
    errors: int = 0
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


@dataclass
class _Bucket:
    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    seconds: array[float] = field(default_factory=lambda: array("d"))
    seen: int = 0
    stride: int = 1

    def add(self, row: sqlite3.Row) -> None:
        self.calls += 1
        self.errors += row["status"] != "ok"
        self.input_tokens += row["input_tokens"] or 0
        self.output_tokens += row["output_tokens"] or 0
        if row["cost"] is not None:
            self.cost = (self.cost or 0.0) + row["cost"]
        if row["alone"]:
            self._hold((row["end_ns"] - row["start_ns"]) / S)

    def _hold(self, seconds: float) -> None:
        if self.seen % self.stride == 0:
            self.seconds.append(seconds)
        self.seen += 1
        if len(self.seconds) > MOST_HELD:
            self.seconds, self.stride = self.seconds[::2], 2 * self.stride


def step_for(seconds: float) -> int:
    """The length of a bucket in seconds for a span of time."""
    return next((s for s in STEPS if seconds / s <= MOST_BUCKETS), STEPS[-1])


def traffic(store: Store, since_ns: int, now_ns: int) -> tuple[Sequence[Traffic], int]:
    """The buckets from a moment to now, oldest first, those without calls among them; and their length in seconds.

    Of a longer time than there are buckets for only the end is shown.
    """
    step = step_for((now_ns - since_ns) / S)
    last = now_ns // (step * S)
    first = max(since_ns // (step * S), last - MOST_BUCKETS)
    made: dict[int, _Bucket] = {}
    try:
        rows = store.read().execute(
            "SELECT s.start_ns, s.end_ns, s.status, s.input_tokens, s.output_tokens, s.cost, "
            f"{MAP_ROWS_SQL} = 1 AS alone FROM spans s WHERE s.id >= ? AND s.op = '{CALL}' "
            "AND s.end_ns IS NOT NULL AND s.start_ns >= ? ORDER BY s.id",
            (first_id(store, since_ns), since_ns),
        )
        for row in rows:
            number = row["start_ns"] // (step * S)
            if first <= number <= last:
                made.setdefault(number, _Bucket()).add(row)
    except sqlite3.Error as e:
        raise explain(e, store.path) from e
    if not made:
        return [], step
    return [_finished(n * step * S, made.get(n)) for n in range(min(made), last + 1)], step


def _finished(at_ns: int, bucket: _Bucket | None) -> Traffic:
    if bucket is None:
        return Traffic(at_ns)
    ordered = sorted(bucket.seconds)
    return Traffic(
        at_ns,
        bucket.calls,
        bucket.errors,
        _quantile(ordered, 0.5),
        _quantile(ordered, 0.95),
        bucket.input_tokens,
        bucket.output_tokens,
        bucket.cost,
    )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that this share of them is at or below (Hyndman and Fan 1996, type 1)."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
