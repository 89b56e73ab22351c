"""Retrieval: what is found, how fast in large indexes, and what looking after an index costs and leaves.

The data sets are those in the folder that LLMOPS_BENCH_DATA names. Indexes and vectors that take minutes are
kept in build/bench.
"""

from __future__ import annotations

from benchmarks import retrieval, scale, upkeep
from benchmarks.report import Row


def measure(*, quick: bool) -> list[Row]:
    return [
        *retrieval.measure(quick=quick),
        *scale.measure(quick=quick),
        *upkeep.measure(quick=quick, pool=scale.pool()),
    ]
