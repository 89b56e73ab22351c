"""What is counted over all traces, followed: each trace is looked at once, and after that only what is new."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llmops_jupyter.store import Store

MOST_CELLS = 20_000
# Traces that are deleted are noticed by the first and the last one, and by the file that is packed after it, imports
# by their list; what is left is corrected after so many seconds.
ANEW_S = 600.0

Version = tuple[str, int]


@dataclass(frozen=True)
class CellRun:
    """The newest run of a prompt by a cell."""

    prompt: str
    version: int
    trace_id: str


@dataclass
class _Counted:
    first: int = 0
    last: int = 0
    newest: str = ""
    moved: str = ""
    began: float = 0.0
    total: int = 0
    versions: Counter[Version] = field(default_factory=Counter)
    # By notebook and cell, in the order in which they ran last.
    cells: dict[tuple[str, str], CellRun] = field(default_factory=dict)


class Roots:
    """The traces of an open store: how many there are, how many of each prompt version, and what each cell ran last.

    Args:
        store: whose.
        clock: seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._counted = _Counted(began=float("-inf"))

    def total(self) -> int:
        """How many traces there are."""
        with self._lock:
            return self._now().total

    def versions(self) -> Mapping[Version, int]:
        """How many traces each prompt version has."""
        with self._lock:
            return dict(self._now().versions)

    def cells(self, notebooks: frozenset[str]) -> Mapping[str, CellRun]:
        """What each cell of a notebook, however its path is written, ran last."""
        with self._lock:
            found = self._now().cells
            return {cell: run for (notebook, cell), run in found.items() if notebook in notebooks}

    def _now(self) -> _Counted:
        ends = self._store.row(
            "SELECT (SELECT min(id) FROM spans), (SELECT max(id) FROM spans), "
            "(SELECT schema_version FROM pragma_schema_version), "
            "(SELECT trace_id FROM spans WHERE id = ?), "
            "(SELECT count(*) || ' ' || coalesce(max(at_ns), 0) FROM span_imports)",
            (self._counted.last,),
        )
        assert ends is not None
        first, last, newest = ends[0] or 0, ends[1] or 0, ends[3] or ""
        # An import may find the parent of what was a trace's first span.
        moved = f"{ends[2]} {ends[4]}"
        known = self._counted
        same = (known.first, known.moved, known.newest) == (first, moved, newest)
        if not same or last < known.last or self._clock() - known.began > ANEW_S:
            known = self._counted = _Counted(first=first, moved=moved, began=self._clock())
        if last > known.last:
            self._walk(known, last)
        return known

    def _walk(self, known: _Counted, last: int) -> None:
        for row in self._store.rows(
            "SELECT notebook, cell_id, prompt_name, prompt_version, trace_id FROM spans "
            "WHERE id > ? AND id <= ? AND parent_id IS NULL ORDER BY id",
            (known.last, last),
        ):
            notebook, cell, prompt, version, trace = row
            known.total += 1
            if prompt is None:
                continue
            known.versions[prompt, version or 0] += 1
            if notebook is not None and cell is not None:
                known.cells.pop((notebook, cell), None)
                known.cells[notebook, cell] = CellRun(prompt, version or 0, trace)
        for key in list(known.cells)[: max(0, len(known.cells) - MOST_CELLS)]:
            del known.cells[key]
        row_of_last = self._store.row("SELECT trace_id FROM spans WHERE id = ?", (last,))
        known.last, known.newest = last, row_of_last[0] if row_of_last is not None else ""
