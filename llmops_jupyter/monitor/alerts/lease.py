"""Which watcher looks at a store: one at a time, over all kernels that share it.

Whoever holds the lease counts a number up. It is free when its process is dead, or when the number stands still for
a while by the clock of whoever waits for it, which no change of the wall clock moves.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from llmops_jupyter.monitor.alerts.ledger import parse
from llmops_jupyter.monitor.alerts.states import S
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer
from llmops_jupyter.tracing.process import is_dead

NAME = "rules"
# Seconds between two beats, and those after which a watcher whose number stands still is taken for gone.
BEAT_S, GONE_S = 15.0, 90.0
# So many looks may be late.
LATE = 3


@dataclass(frozen=True)
class Holder:
    """Who holds the lease."""

    owner: str
    pid: int | None
    host: str
    every_s: float
    since: str
    beat: int
    beat_at: str
    looked_at: str

    def is_silent(self, now_ns: int) -> bool:
        """Whether it neither beats nor looks any more, by the wall clock: its process hangs, or is gone elsewhere.

        One that is late with three looks is silent too. Whoever asks may look itself; the lease is not touched by that.
        """
        late_s = max(LATE * self.every_s, GONE_S)
        last = self.looked_at or self.since
        return _apart_s(self.beat_at, now_ns) > GONE_S or _apart_s(last, now_ns) > late_s


def _apart_s(stamp: str, now_ns: int) -> float:
    return abs(now_ns - parse(stamp)) / S


class Lease:
    """The lease of one watcher; every watcher has one of its own, also several of one process.

    Args:
        tracer: of the workspace, which registers the process.
        every_s: seconds between its looks, for others to see.
        clock: seconds that only go forward.
    """

    def __init__(
        self, tracer: Tracer, every_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.owner = uuid.uuid4().hex
        self.every_s = every_s
        self._tracer = tracer
        self._store: Store = tracer.store
        self._clock = clock
        self._seen: tuple[str, int] = ("", -1)
        self._seen_at = 0.0

    def hold(self) -> bool:
        """Take the lease if it is free, or count it up if it is ours; whether it is ours now."""
        store = self._store
        with store.write() as conn:
            row = conn.execute(
                "SELECT w.owner, w.beat, p.* FROM watchers w LEFT JOIN processes p ON p.id = w.process_id "
                "WHERE w.name = ?",
                (NAME,),
            ).fetchone()
            if row is not None and row["owner"] == self.owner:
                conn.execute(
                    "UPDATE watchers SET beat = beat + 1, beat_at = ?, every_s = ? WHERE name = ?",
                    (store.now(), self.every_s, NAME),
                )
                return True
            if row is not None and not self._is_free(row):
                return False
            process = self._tracer.register_process(conn)
            conn.execute(
                "INSERT OR REPLACE INTO watchers(name, owner, process_id, every_s, since, beat, beat_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (NAME, self.owner, process, self.every_s, store.now(), 0, store.now()),
            )
        self._tracer.registered()
        return True

    def _is_free(self, row: object) -> bool:
        """Whether the holder is dead, or has not counted up for a while as far as we have seen."""
        if row["id"] is not None and is_dead(row):  # type: ignore[index,arg-type]
            return True
        seen = (row["owner"], row["beat"])  # type: ignore[index]
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
            return False
        return self._clock() - self._seen_at >= GONE_S

    def looked(self) -> None:
        """Note that all rules were looked at."""
        with self._store.write() as conn:
            conn.execute(
                "UPDATE watchers SET looked_at = ? WHERE name = ? AND owner = ?",
                (self._store.now(), NAME, self.owner),
            )

    def release(self) -> None:
        """Give the lease back, if it is ours."""
        with self._store.write() as conn:
            conn.execute("DELETE FROM watchers WHERE name = ? AND owner = ?", (NAME, self.owner))


def holder_of(store: Store) -> Holder | None:
    """Who holds the lease; None if nobody does, or a process that is dead."""
    row = store.row(
        "SELECT w.owner, w.every_s, w.since, w.beat, w.beat_at, w.looked_at, p.* FROM watchers w "
        "LEFT JOIN processes p ON p.id = w.process_id WHERE w.name = ?",
        (NAME,),
    )
    if row is None or (row["id"] is not None and is_dead(row)):
        return None
    names = ("owner", "pid", "host", "every_s", "since", "beat", "beat_at", "looked_at")
    return Holder(*(row[name] for name in names))
