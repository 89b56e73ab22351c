"""Martingales that grow when a stream stops looking like the baseline, however often one looks at them.

Each new value is ranked among the baseline and all that has come so far, together: if all of them are drawn
alike, the rank is uniform and independent of the ranks before it, whatever the baseline happens to be (Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World, 2nd edition 2022, part III). Bets against that
multiply a capital, and by Ville's inequality it ever reaches 1/a with a probability of at most a. The bets are
shared between several densities, with a little changing over at each step (Herbster and Warmuth, Machine Learning
32, 1998), of which the Simple Jumper of Vovk et al. (COPA 2021) is a special case: so the capital also grows where
the change comes late.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The share of the capital that changes over at each step.
CHANGING = 0.002
GRID = 1_000
PATH = 400
# The largest number in single precision.
LARGEST = (2 - 2**-23) * 2.0**127


def place_of(value: float) -> int:
    """A number's cell: about 4,096 of them to a factor of two. They do not depend on the data.

    What is beyond the range of single precision shares the last cell on its side.
    """
    import numpy as np

    bits = int(np.float32(max(-LARGEST, min(LARGEST, value))).view(np.int32))
    return (bits if bits >= 0 else -(bits & 0x7FFFFFFF)) >> 11


def coin(*about: object) -> float:
    """A number between 0 and 1 that follows from what it is for, so that a stream can go on elsewhere."""
    text = "\n".join(map(str, about)).encode("utf-8", "replace")
    return (int.from_bytes(blake2b(text, digest_size=7).digest(), "big") + 0.5) / (1 << 56)


@dataclass
class NumberRanks:
    """Numbers that were seen, by cell; a new one's p-value is the share of them that are larger."""

    cells: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add_all(self, values: Sequence[float]) -> None:
        """Take in the baseline's values."""
        found: dict[int, int] = dict(zip(self.cells, self.counts, strict=True))
        for value in values:
            cell = place_of(value)
            found[cell] = found.get(cell, 0) + 1
        self.cells = sorted(found)
        self.counts = [found[cell] for cell in self.cells]

    def p_value(self, value: float, tie: float) -> float:
        """Take a value in, and rank it among all; equal ones are broken by `tie`, between 0 and 1."""
        cell = place_of(value)
        at = bisect_left(self.cells, cell)
        if at == len(self.cells) or self.cells[at] != cell:
            self.cells.insert(at, cell)
            self.counts.insert(at, 0)
        self.counts[at] += 1
        larger, total = sum(self.counts[at + 1 :]), sum(self.counts)
        return (larger + tie * self.counts[at]) / total


@dataclass
class KindRanks:
    """Categories that were seen; a new one's p-value is the share of rows of kinds at most as common."""

    counts: dict[str, int] = field(default_factory=dict)

    def add_all(self, values: Sequence[str]) -> None:
        """Take in the baseline's values."""
        for value in values:
            self.counts[value] = self.counts.get(value, 0) + 1

    def p_value(self, value: str, tie: float) -> float:
        """Take a value in, and rank it by how rare its kind is."""
        own = self.counts[value] = self.counts.get(value, 0) + 1
        rarer = sum(n for n in self.counts.values() if n < own)
        equal = sum(n for n in self.counts.values() if n == own)
        return (rarer + tie * equal) / sum(self.counts.values())


@lru_cache(maxsize=2)
def densities(two_sided: bool) -> NDArray[np.float64]:
    """Bets: what each pays at p-values on a grid of 1,000 steps. Shape (bets, 1000); each has a mean of 1.

    The first one abstains. One-sided ones pay for small p-values only, the others for large ones, and for both
    ends or neither, as well.
    """
    import numpy as np

    p = (np.arange(GRID) + 0.5) / GRID
    low: list[NDArray[Any]] = [1 + 1.2 * (0.5 - p), 1 + 1.9 * (0.5 - p)]
    for edge, weight in ((0.01, 0.1), (0.05, 0.2), (0.05, 0.5), (0.2, 0.3)):
        low.append(1 - weight + weight / edge * (p < edge))
    made: list[NDArray[Any]] = [np.ones(GRID), *low]
    if two_sided:
        made += [bet[::-1] for bet in low]
        ends = (p < 0.1) | (p > 0.9)
        made += [0.6 + 0.4 / 0.2 * ends, 0.6 + 0.4 / 0.5 * (np.abs(p - 0.5) < 0.25)]
    found = np.asarray(made)
    exact: NDArray[np.float64] = found / found.mean(1, keepdims=True)
    return exact


@dataclass
class Martingale:
    """The capital of the bets against one feature.

    Args:
        two_sided: whether large p-values are strange as well.
        shares: of the bets in the capital; they add up to 1.
        log_capital: natural logarithm of the capital, which begins at 0.
        highest: that it has been, and `highest_at` the row at which.
        count: values so far.
        lowest: that it has been, and `lowest_at` the row at which.
        path: (row, log capital), thinned out.
    """

    two_sided: bool
    shares: NDArray[np.float64] | None = None
    log_capital: float = 0.0
    highest: float = 0.0
    highest_at: int = 0
    count: int = 0
    lowest: float = 0.0
    lowest_at: int = 0
    path: list[tuple[int, float]] = field(default_factory=list)
    stride: int = 1

    def bet(self, p_value: float, row: int | None = None) -> None:
        """Pay the bets at a p-value.

        Args:
            p_value: of the next value.
            row: of the stream, which has others without a value; the number of the value if left out.
        """
        table = densities(self.two_sided)
        begin = _beginning(len(table))
        shares = begin if self.shares is None else self.shares
        paid = shares * table[:, min(GRID - 1, int(p_value * GRID))]
        total = float(paid.sum())
        self.shares = (1 - CHANGING) / total * paid + CHANGING * begin
        self.log_capital += math.log(total)
        self.count += 1
        at = self.count if row is None else row
        if self.log_capital > self.highest:
            self.highest, self.highest_at = self.log_capital, at
        if self.log_capital < self.lowest:
            self.lowest, self.lowest_at = self.log_capital, at
        self._note(at)

    @property
    def p_value(self) -> float:
        """That holds at every look: one over the most that the capital has been."""
        return math.exp(-self.highest) if self.highest > 0 else 1.0

    def _note(self, row: int) -> None:
        if self.count % self.stride == 0:
            self.path.append((row, round(self.log_capital, 4)))
        if len(self.path) >= PATH:
            self.stride *= 2
            self.path = self.path[1::2]

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        shares = None if self.shares is None else self.shares.tolist()
        return {**vars(self), "shares": shares, "path": [list(pair) for pair in self.path]}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Martingale:
        """What `as_dict` made."""
        import numpy as np

        path = [(int(n), float(v)) for n, v in state["path"]]
        shares = None if state["shares"] is None else np.asarray(state["shares"], np.float64)
        return cls(**{**state, "shares": shares, "path": path})


@lru_cache(maxsize=4)
def _beginning(bets: int) -> NDArray[np.float64]:
    """Half on abstaining, the rest alike."""
    import numpy as np

    shares = np.full(bets, 0.5 / (bets - 1))
    shares[0] = 0.5
    return shares
