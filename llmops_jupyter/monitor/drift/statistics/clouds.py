"""Tests of vectors of texts: one that sees topics that come together, one that sees what is far from all that was.

The first is the maximum mean discrepancy (Gretton et al., Journal of Machine Learning Research 13, 2012; the
unbiased estimate) with a Gaussian kernel. The second is the mean, over the window's rows, of the fourth power of the
distance to the nearest row of the baseline, less that of the baseline's rows to theirs. Both are computed anew for each labelling of the pooled
rows, with nothing learned from one side alone, so that permutation makes them exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.monitor.drift.statistics.units import Labels

# Neighbours that are looked at for one that is in the baseline.
NEIGHBOURS = 8
# Farther, squared, than vectors of unit length can be.
FAR = 5.0
# Labellings that are worked on at once, so that they stay in the processor's cache.
TOGETHER = 128
# The kernel's width, as a part of the median squared distance.
WIDTH = 1.0
# Distances to this power: what is new is far away, and a few far ones say more than many that are a little farther.
POWER = 4


@dataclass(frozen=True)
class Cloud:
    """Vectors of the pooled rows that have one, and what follows from them alone.

    Args:
        name: of the text.
        rows: of the pooled rows, that have a vector.
        units: the unit of each.
        kernel: between units, summed over their rows, 0 on the rows' diagonal; (units, units).
        near: the nearest rows of each row, of other units, by place in `rows`; (rows, neighbours).
        apart: how far they are, to the fourth power; ascending.
    """

    name: str
    rows: NDArray[np.int64]
    units: NDArray[np.int64]
    kernel: NDArray[np.float32]
    near: NDArray[np.int64]
    apart: NDArray[np.float32]
    width: float

    def statistics(self, labels: Labels) -> NDArray[np.float64]:
        """Both statistics under each labelling of the units. Shape (2, labellings)."""
        import numpy as np

        return np.stack([self.discrepancy(labels), self.novelty(labels)])

    def discrepancy(self, labels: Labels) -> NDArray[np.float64]:
        """Squared maximum mean discrepancy between window and baseline, under each labelling."""
        import numpy as np

        kernel = self.kernel
        inside = np.einsum("ip,ip->p", labels, kernel @ labels)
        sums = kernel.sum(1) @ labels
        n = labels[self.units].sum(0)
        rest = len(self.rows) - n
        outside = float(kernel.sum()) - 2 * sums + inside
        with np.errstate(divide="ignore", invalid="ignore"):
            found = inside / (n * (n - 1)) + outside / (rest * (rest - 1))
            found -= 2 * (sums - inside) / (n * rest)
        return np.nan_to_num(np.asarray(found, np.float64), nan=0.0, posinf=0.0, neginf=0.0)

    def novelty(self, labels: Labels) -> NDArray[np.float64]:
        """How much farther from the baseline the window's rows are than its own, under each labelling.

        A row whose neighbours all lie in the window counts as far as the last of them.
        """
        import numpy as np

        found = []
        steps = np.diff(self.apart, axis=1, prepend=np.float32(0)).T
        for begin in range(0, labels.shape[1], TOGETHER):
            inside = labels[self.units, begin : begin + TOGETHER]
            # Whether all neighbours so far lie in the window, so that the row is at least so far from the baseline.
            beyond = np.ones_like(inside)
            total = np.zeros(inside.shape[1])
            within = np.zeros(inside.shape[1])
            for place, step in enumerate(steps):
                if place:
                    beyond *= inside[self.near[:, place - 1]]
                total += step @ beyond
                within += step @ (beyond * inside)
            n = inside.sum(0, dtype=np.float64)
            rest = np.maximum(len(self.rows) - n, 1)
            found.append(within / np.maximum(n, 1) - (total - within) / rest)
        return np.concatenate(found)


def cloud_of(
    name: str, rows: NDArray[np.int64], values: NDArray[np.float32], of_row: NDArray[np.int64]
) -> Cloud:
    """The cloud of vectors of unit length.

    Args:
        name: of the text.
        rows: of the pooled rows, that have a vector.
        values: the vectors; shape (len(rows), width).
        of_row: the unit of each pooled row.
    """
    return cloud_from(name, rows, squared_distances(values), of_row)


def squared_distances(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Between all vectors of unit length."""
    import numpy as np

    squared: NDArray[np.float32] = values @ values.T
    squared *= -2
    squared += 2
    np.maximum(squared, 0, out=squared)
    return squared


def cloud_from(
    name: str, rows: NDArray[np.int64], squared: NDArray[np.float32], of_row: NDArray[np.int64]
) -> Cloud:
    """The cloud of squared distances, which are overwritten; arguments as for `cloud_of`."""
    import numpy as np

    units = of_row[rows]
    count = int(of_row.max()) + 1
    single = len(units) == count and bool((units == np.arange(count)).all())
    width = WIDTH * _median(squared)
    kernel = np.exp(squared * np.float32(-1 / width))
    np.fill_diagonal(kernel, 0)
    if not single:
        kernel = _summed(kernel, units, count)
    near, apart = _neighbours(squared, None if single else units)
    return Cloud(name, rows, units, kernel, near, apart, width)


def _median(squared: NDArray[np.float32]) -> float:
    """The median of the squared distances between different rows, of at most some 45,000 of them."""
    import numpy as np

    step = max(1, len(squared) // 300)
    part = squared[::step, ::step]
    above = part[np.triu_indices(len(part), 1)]
    if not len(above):
        return 1.0
    middle = float(np.partition(above, len(above) // 2)[len(above) // 2])
    return middle or 1e-6


def _neighbours(
    squared: NDArray[np.float32], units: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest rows of other units, and how far they are, to the fourth power; overwrites the distances."""
    import numpy as np

    n = len(squared)
    many = min(NEIGHBOURS, n - 1)
    if units is None:
        np.fill_diagonal(squared, FAR)
    else:
        squared[units[:, None] == units[None, :]] = FAR
    near = np.empty((n, many), np.int64)
    apart = np.empty((n, many), np.float32)
    every = np.arange(n)
    for place in range(many):  # to search a row for its least so often is faster than to sort it
        found = squared.argmin(1)
        near[:, place], apart[:, place] = found, squared[every, found]
        squared[every, found] = FAR
    return near, apart ** (POWER // 2)


def _summed(
    kernel: NDArray[np.float32], units: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """The kernel between units: sums over their rows."""
    import numpy as np
    from scipy.sparse import csr_matrix

    ones = np.ones(len(units), np.float32)
    belongs = csr_matrix((ones, (units, np.arange(len(units)))), shape=(count, len(units)))
    found: NDArray[np.float32] = np.ascontiguousarray((belongs @ (belongs @ kernel).T).T)
    return found
