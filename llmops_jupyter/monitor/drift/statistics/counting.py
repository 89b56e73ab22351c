"""Tests of numbers and of categories: both count rows in bins, for all permutations in one product.

Numbers are binned by their ranks in the pooled sample, which no permutation changes, and compared by the
statistic of Anderson and Darling for two samples (Scholz and Stephens, Journal of the American Statistical
Association 82, 1987): it sees shifts, spreads and tails. Categories are compared by Pearson's chi-squared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.monitor.drift.statistics.units import Labels, Units

BINS = 200


@dataclass(frozen=True)
class Bins:
    """One feature of the pooled rows: the bin of each, -1 where the value is missing."""

    name: str
    numeric: bool
    of_row: NDArray[np.int64]
    count: int


def number_bins(name: str, values: NDArray[np.float64]) -> Bins:
    """Numbers by their ranks; equal ones share a bin, and there are at most 200."""
    import numpy as np

    there = np.isfinite(values)
    found, places = np.unique(values[there], return_inverse=True)
    if len(found) > BINS:
        ends = np.cumsum(np.bincount(places))
        places = ((ends[places] - 1) * BINS) // int(ends[-1])
        _, places = np.unique(places, return_inverse=True)
    of_row = np.full(len(values), -1, np.int64)
    of_row[there] = places
    return Bins(name, True, of_row, int(places.max(initial=-1)) + 1)


def category_bins(name: str, values: Sequence[str | None]) -> Bins:
    """Categories, each a bin."""
    import numpy as np

    known = {value: i for i, value in enumerate(sorted({v for v in values if v is not None}))}
    of_row = np.asarray([known.get(v, -1) if v is not None else -1 for v in values], np.int64)
    return Bins(name, False, of_row, len(known))


def count_statistics(features: Sequence[Bins], units: Units, labels: Labels) -> NDArray[np.float64]:
    """The statistic of each feature under each labelling. Shape (features, permutations + 1)."""
    import numpy as np
    from scipy.sparse import csr_matrix

    starts = np.cumsum([0, *(f.count for f in features)])
    rows, columns = [], []
    for start, feature in zip(starts, features, strict=False):
        there = np.flatnonzero(feature.of_row >= 0)
        rows.append(feature.of_row[there] + start)
        columns.append(units.of_row[there])
    where = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(where[0]), np.float32)
    counts = csr_matrix((ones, where), shape=(int(starts[-1]), len(units.window)))
    inside = counts @ labels
    total = np.asarray(counts.sum(1), np.float32)
    made = np.empty((len(features), labels.shape[1]))
    for place, feature in enumerate(features):
        part = slice(starts[place], starts[place + 1])
        compare = _anderson_darling if feature.numeric else _chi_squared
        made[place] = compare(inside[part], total[part])
    return made


def _anderson_darling(
    inside: NDArray[np.float32], total: NDArray[np.float32]
) -> NDArray[np.float64]:
    """From counts of the window (bins, labellings) and of all (bins, 1)."""
    import numpy as np

    n, whole = inside.sum(0), float(total.sum())
    if len(total) < 2:
        return np.zeros(inside.shape[1])
    below = np.cumsum(inside[:-1], 0)
    pooled = np.cumsum(total[:-1], 0)
    rest = np.maximum(whole - n, 1.0)
    gap = below / np.maximum(n, 1.0) - (pooled - below) / rest
    share = pooled / whole
    weights = total[:-1] / whole / (share * (1 - share))
    found = (weights * gap**2).sum(0) * n * rest / whole
    return np.asarray(found, np.float64)


def _chi_squared(inside: NDArray[np.float32], total: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    n, whole = inside.sum(0), float(total.sum())
    share = total / whole
    rest = np.maximum(whole - n, 1.0)
    found = ((inside - n * share) ** 2 / share).sum(0) * (1 / np.maximum(n, 1.0) + 1 / rest)
    return np.asarray(found, np.float64)
