"""Finding traces among many: the newest, and those that hold a word."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any

import llmops_jupyter as lo
from benchmarks.payload import COMMON, COMMON_SHARE, RARE, exchanges
from benchmarks.report import Row, median, spread
from benchmarks.trackers import Mlflow
from benchmarks.writers import write_ours

LIMIT = 100
WAITING = 31  # spans enter the index 64 at a time; a search brings in those that wait


def measure(peer: str | None, missing: str, *, quick: bool) -> list[Row]:
    count, runs = (2_000, 5) if quick else (100_000, 30)
    theirs = dict.fromkeys(("", COMMON, RARE), missing)
    if peer is not None:
        theirs = _mlflow(peer, 100 if quick else 500, 3 if quick else 10)
    with tempfile.TemporaryDirectory() as folder:
        print(f"  writing {count:,} traces", flush=True)
        rare = 0
        with lo.open(folder) as ws:
            for asked, made in exchanges(count):
                write_ours(ws, asked, made)
                rare += RARE in asked
        with lo.open(folder) as ws:
            return [*_searches(ws, count, rare, runs, theirs), _pending(ws, count, runs)]


def _searches(ws: Any, count: int, rare: int, runs: int, theirs: dict[str, str]) -> list[Row]:
    share = f"a word of {100 * COMMON_SHARE:.0f} % of them"
    by_date = functools.partial(ws.traces.search, limit=LIMIT)
    by_weight = functools.partial(by_date, order="relevance")
    few = min(LIMIT, rare)
    cases = (
        ("the newest 100", ws.traces.newest, "", LIMIT, 5),
        (f"{share}, newest first", functools.partial(by_date, COMMON), COMMON, LIMIT, 10),
        (
            f"a word of {rare:,} of them, newest first",
            functools.partial(by_date, RARE),
            RARE,
            few,
            10,
        ),
        (f"{share}, ranked", functools.partial(by_weight, COMMON), COMMON, LIMIT, 60),
        (f"a word of {rare:,} of them, ranked", functools.partial(by_weight, RARE), RARE, few, 60),
    )
    rows = []
    for label, find, word, expected, limit in cases:
        seconds = [_time(find, expected) for _ in range(runs + 1)][1:]
        rows.append(
            Row(
                f"{label}, of {count:,} traces",
                spread(seconds, "ms", 1e3),
                theirs[word],
                target=f"≤ {limit} ms",
                reached=1e3 * median(seconds) <= limit,
            )
        )
    return rows


def _pending(ws: Any, count: int, runs: int) -> Row:
    """A search right after new traces has to bring these into the index first."""
    seconds = []
    for run in range(runs):
        for asked, made in exchanges(WAITING, seed=100 + run):
            write_ours(ws, asked, made)
        seconds.append(_time(functools.partial(ws.traces.search, COMMON, limit=LIMIT), LIMIT))
    return Row(
        f"a word of {100 * COMMON_SHARE:.0f} %, newest first, right after {WAITING} new traces, of {count:,}",
        spread(seconds, "ms", 1e3),
    )


def _time(find: Callable[[], list], expected: int) -> float:
    began = time.perf_counter()
    found = find()
    seconds = time.perf_counter() - began
    if len(found) != expected:
        raise RuntimeError(f"{len(found)} traces were found, not {expected}")
    return seconds


def _mlflow(python: str, count: int, runs: int) -> dict[str, str]:
    """MLflow's time for the newest 100, by word; without the spans, and with them as it comes."""
    found = {}
    with Mlflow(python, background=True) as mlflow:
        mlflow.write(count)
        for word in ("", COMMON, RARE):
            bare, whole = (mlflow.search(word, runs, spans=spans) for spans in (False, True))
            found[word] = (
                f"MLflow {mlflow.version}, of {count:,}: {spread(bare, 'ms', 1e3)} without spans, "
                f"{spread(whole, 'ms', 1e3)} as it comes"
            )
    return found
