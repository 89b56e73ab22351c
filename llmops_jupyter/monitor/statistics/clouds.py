"""Tests of vectors of texts: one that sees topics that come together, one that sees what is far from all that was.

The first is the maximum mean discrepancy (Gretton et al., Journal of Machine Learning Research 13, 2012; the
unbiased estimate) with a Gaussian kernel. The second is the mean distance of the window's rows to their nearest row of the
baseline, less that of the baseline's rows to theirs. Both are computed anew for each labelling of the pooled
rows, with nothing learned from one side alone, so that permutation makes them exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.monitor.statistics.units import Labels

# Neighbours that are looked at for one that is in the baseline.
NEIGHBOURS = 12
# Labellings whose distances are held at once.
TOGETHER = 512
# The kernel's width, as a part of the median squared distance.
WIDTH = 0.25


@dataclass(frozen=True)
class Cloud:
    """Vectors of the pooled rows that have one, and what follows from them alone.

    Args:
        name: of the text.
        rows: of the pooled rows, that have a vector.
        units: the unit of each.
        kernel: between units, summed over their rows, 0 on the rows' diagonal; (units, units).
        near: the nearest rows of each row, of other units, by place in `rows`; (rows, neighbours).
        distances: to them, ascending.
    """

    name: str
    rows: NDArray[np.int64]
    units: NDArray[np.int64]
    kernel: NDArray[np.float32]
    near: NDArray[np.int64]
    distances: NDArray[np.float32]
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
        """How much farther from the baseline the window's rows are than its own, under each labelling."""
        import numpy as np

        found = []
        for begin in range(0, labels.shape[1], TOGETHER):
            inside = labels[self.units, begin : begin + TOGETHER] > 0
            apart = self.nearest(inside)
            n = inside.sum(0)
            within = np.where(inside, apart, 0).sum(0, dtype=np.float64)
            total = apart.sum(0, dtype=np.float64)
            rest = np.maximum(len(self.rows) - n, 1)
            found.append(within / np.maximum(n, 1) - (total - within) / rest)
        return np.concatenate(found)

    def nearest(self, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The distance of each row to the nearest one that is not inside; shape as `inside`."""
        import numpy as np

        apart = np.repeat(self.distances[:, -1:], inside.shape[1], axis=1)
        outside = ~inside
        for place in range(self.near.shape[1] - 2, -1, -1):
            np.copyto(
                apart, self.distances[:, place, None], where=outside[self.near[:, place]]
            )
        return apart


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
    import numpy as np

    squared = 2 - 2 * (values @ values.T)
    np.maximum(squared, 0, out=squared)
    units = of_row[rows]
    near, distances = _neighbours(squared, units)
    width = WIDTH * _median(squared)
    kernel = np.exp(squared * np.float32(-1 / width))
    np.fill_diagonal(kernel, 0)
    count = int(of_row.max()) + 1
    if count != len(rows) or not np.array_equal(units, np.arange(count)):
        kernel = _summed(kernel, units, count)
    return Cloud(name, rows, units, kernel, near, distances, width)


def _median(squared: NDArray[np.float32]) -> float:
    """The median of the squared distances between different rows, of at most some 100,000 of them."""
    import numpy as np

    n = len(squared)
    step = max(1, n // 450)
    part = squared[::step, ::step]
    above = part[np.triu_indices(len(part), 1)]
    return float(np.median(above)) or 1e-6 if len(above) else 1.0


def _neighbours(
    squared: NDArray[np.float32], units: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest rows of other units, and how far they are."""
    import numpy as np

    n = len(squared)
    many = min(NEIGHBOURS, n - 1)
    masked = squared.copy()
    if len(np.unique(units)) == n:
        np.fill_diagonal(masked, 5.0)
    else:
        masked[units[:, None] == units[None, :]] = 5.0  # farther than vectors of unit length can be
    near = np.argpartition(masked, many - 1, axis=1)[:, :many]
    apart = np.take_along_axis(masked, near, axis=1)
    order = np.argsort(apart, axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    return near, np.sqrt(np.take_along_axis(apart, order, axis=1))


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
