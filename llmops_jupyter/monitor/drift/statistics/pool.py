"""All tests of a check over the same pooled rows and the same permutations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_jupyter.monitor.drift.statistics.clouds import Cloud
from llmops_jupyter.monitor.drift.statistics.counting import Bins, count_statistics
from llmops_jupyter.monitor.drift.statistics.units import Labels, Units, p_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ANDERSON_DARLING, CHI_SQUARED = "Anderson–Darling", "chi-squared"
DISCREPANCY, NOVELTY = "MMD", "kNN novelty"


@dataclass(frozen=True)
class Pool:
    """Pooled rows of baseline and window, as they are tested.

    Args:
        units: what is permuted.
        bins: of numbers and categories.
        clouds: of texts.
    """

    units: Units
    bins: tuple[Bins, ...]
    clouds: tuple[Cloud, ...]

    @property
    def tests(self) -> list[tuple[str, str]]:
        """Feature and method of each test."""
        found = [(b.name, ANDERSON_DARLING if b.numeric else CHI_SQUARED) for b in self.bins]
        for cloud in self.clouds:
            found += [(cloud.name, DISCREPANCY), (cloud.name, NOVELTY)]
        return found

    def statistics(self, labels: Labels) -> NDArray[np.float64]:
        """The statistic of each test under each labelling of the units. Shape (tests, labellings)."""
        import numpy as np

        parts = [count_statistics(self.bins, self.units, labels)] if self.bins else []
        parts += [cloud.statistics(labels) for cloud in self.clouds]
        return np.concatenate(parts)

    def p_values(self, permutations: int, rng: np.random.Generator) -> list[float]:
        """Of each test, as the rows are; exact for any number of permutations."""
        found = self.statistics(self.units.labels(permutations, rng))
        return [p_value(row) for row in found]


def first_step(p_values: Sequence[float], level: float) -> bool:
    """Whether Holm's procedure rejects anything: the smallest p-value against the level shared among all."""
    return bool(p_values) and min(p_values) * len(p_values) <= level
