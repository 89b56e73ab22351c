"""One string for each section of the panel, which is another one whenever what the section shows may be.

SQLite tells in microseconds whether anybody has committed since the last time. Only then are the tables looked at
that are small; for those of traces, where any row may be rewritten, each commit counts as a change. Figures that sum
traces up are told of at most every few seconds, since each trace changes them.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

from llmops_jupyter.finetune import job
from llmops_jupyter.finetune.runs import RUNNING
from llmops_jupyter.store import Store

TOPICS = ("traces", "prompts", "evaluations", "models", "indexes", "monitor")
# Seconds between two changes of a section for no more than its sums.
SUMS_S = 10.0
# Rows up to which a table is compared row by row; a longer one counts as changed with each commit.
MOST_ROWS = 1_000
# Runs that train at once and are followed.
MOST_RUNS = 5

TABLES: dict[str, tuple[str, ...]] = {
    "prompts": (
        "SELECT id, defaults, substr(content, 1, 11) FROM prompt_versions",
        "SELECT count(*), max(id) FROM alias_log",
        "SELECT count(*), max(id), count(ended_at) FROM prompt_splits",
    ),
    "evaluations": (
        "SELECT id, label, finished_at, length(metrics) FROM evaluation_runs",
        "SELECT max(id) FROM scores",
        "SELECT max(id) FROM comparisons",
    ),
    "models": (
        "SELECT id, path, size, mtime_ns, removed_at, parent FROM models",
        "SELECT key, value FROM settings WHERE key = 'default_model' OR key GLOB 'tun*'",
        "SELECT count(*), max(id) FROM alias_log",
        "SELECT id, status, message, adapter, read_bytes, ended_at FROM finetune_runs",
    ),
    "indexes": ("SELECT id, name, generation, next_vector, created_at FROM rag_indexes",),
    "monitor": (
        "SELECT max(id) FROM alert_rules",
        "SELECT rule, standing FROM alert_standings",
        "SELECT max(id) FROM alert_looks",
        "SELECT max(id) FROM alert_changes",
        "SELECT max(id) FROM alert_marks",
        "SELECT count(*), max(id) FROM monitor_reports",
        "SELECT max(id), count(ended_at) FROM budgets",
    ),
}
# Sections with figures that sum traces up.
SUMMING = frozenset({"prompts", "indexes", "monitor"})


class Versions:
    """The strings of one open store.

    Args:
        store: whose.
        workers: what differs when a worker has come or gone.
        clock: seconds.
    """

    def __init__(
        self,
        store: Store,
        workers: Callable[[], Hashable],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._workers, self._clock = store, workers, clock
        # Counting begins anew with each opening, and a count of before must not be taken for one of now.
        self._opening = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._commits = self._summed = 0
        self._summed_at = float("-inf")
        self._tables: dict[str, str] = {}
        self._training: list[Path] = []

    def now(self) -> dict[str, str]:
        """The string of each section."""
        with self._lock:
            # Asked first: what is committed while the tables are read is seen the next time.
            generation = self._store.generation()
            if generation != self._generation:
                commits = self._commits + 1
                self._tables = {topic: self._seen(topic, commits) for topic in TABLES}
                self._training = self._running()
                self._generation, self._commits = generation, commits
            now = self._clock()
            if self._summed != self._commits and now - self._summed_at >= SUMS_S:
                self._summed, self._summed_at = self._commits, now
            return {topic: _digest(self._parts(topic)) for topic in TOPICS}

    def _parts(self, topic: str) -> Iterator[object]:
        yield self._opening
        if topic == "traces":
            yield self._commits
            return
        yield self._tables[topic]
        if topic in SUMMING:
            yield self._summed
        if topic == "models":
            yield self._workers()
            for folder in self._training:
                yield _progress(folder)

    def _seen(self, topic: str, commits: int) -> str:
        return _digest(self._rows(topic, commits))

    def _rows(self, topic: str, commits: int) -> Iterator[object]:
        for sql in TABLES[topic]:
            rows = self._store.rows(f"{sql} LIMIT {MOST_ROWS + 1}")
            yield commits if len(rows) > MOST_ROWS else [tuple(row) for row in rows]

    def _running(self) -> list[Path]:
        rows: list[sqlite3.Row] = self._store.rows(
            "SELECT folder FROM finetune_runs WHERE status = ? ORDER BY created_at DESC LIMIT ?",
            (RUNNING, MOST_RUNS),
        )
        return [Path(row[0]) for row in rows]


def _progress(folder: Path) -> tuple[int, int | None]:
    """How far a run is, which its process tells in a file of its own, and whether that process lives."""
    try:
        size = (folder / job.EVENTS).stat().st_size
    except OSError:
        size = -1
    return size, job.process_of(folder)


def _digest(parts: Iterator[object]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(f"{part!r}\n".encode("utf-8", "backslashreplace"))
    return found.hexdigest()
