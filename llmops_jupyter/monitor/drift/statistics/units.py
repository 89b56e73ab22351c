"""What is permuted: sessions, whole. Rows of one session stay together, since they say less than independent ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Labels: TypeAlias = "NDArray[np.float32]"
# Permutations that are drawn at once.
TOGETHER = 512


@dataclass(frozen=True)
class Units:
    """The pooled rows by session; the baseline's rows come first.

    Args:
        of_row: the unit of each row.
        window: whether a unit lies in the window.
        shared: sessions with rows on both sides; each side's rows are then a unit of their own.
    """

    of_row: NDArray[np.int64]
    window: NDArray[np.bool_]
    shared: int = 0

    @property
    def rows(self) -> NDArray[np.float32]:
        """How many rows each unit has."""
        import numpy as np

        return np.bincount(self.of_row, minlength=len(self.window)).astype(np.float32)

    @property
    def grouped(self) -> bool:
        """Whether some session has more than one row."""
        return len(self.window) < len(self.of_row)

    def least_p(self, permutations: int) -> float:
        """The smallest p-value that a test can come to."""
        ways = math.comb(len(self.window), int(self.window.sum()))
        return 1.0 / min(permutations + 1, ways)

    def labels(self, permutations: int, rng: np.random.Generator) -> Labels:
        """Which units are the window: as it is in the first column, then in each permutation.

        Shape (units, permutations + 1), of 0 and 1. Every column has as many units in the window.
        """
        import numpy as np

        count, inside = len(self.window), int(self.window.sum())
        found = np.empty((count, permutations + 1), np.float32)
        found[:, 0] = self.window
        for begin in range(1, permutations + 1, TOGETHER):
            part = found[:, begin : begin + TOGETHER]
            # Those with the smallest of so many random numbers are the window.
            keys = rng.random((part.shape[1], count))
            limits = np.partition(keys, inside - 1, axis=1)[:, inside - 1 : inside]
            part[:] = (keys <= limits).T
        return found


def units_of(baseline: Sequence[str | None], window: Sequence[str | None]) -> Units:
    """Units from the session of each row; a row without one is a unit of its own."""
    import numpy as np

    places: dict[tuple[int, str], int] = {}
    of_row: list[int] = []
    sides: list[bool] = []
    for side, sessions in enumerate((baseline, window)):
        for session in sessions:
            key = (side, session) if session else None
            place = places.get(key) if key is not None else None
            if place is None:
                place = len(sides)
                sides.append(bool(side))
                if key is not None:
                    places[key] = place
            of_row.append(place)
    shared = len({s for s in baseline if s} & {s for s in window if s})
    return Units(np.asarray(of_row, np.int64), np.asarray(sides, bool), shared)


def permutations_for(tests: int, level: float) -> int:
    """As many as let the strictest step of Holm's procedure reject at ten of them, and lose none of the level."""
    return round(10 * max(1, tests) / level) - 1


def p_value(statistics: NDArray[np.floating]) -> float:
    """Of the first among all: (b + 1) / (m + 1), with b permutations at least as large (Phipson and Smyth 2010)."""
    import numpy as np

    own = float(statistics[0])
    slack = 1e-5 * (float(np.std(statistics)) + 1e-12)  # equal but for rounding
    return float(np.mean(statistics >= own - slack))
