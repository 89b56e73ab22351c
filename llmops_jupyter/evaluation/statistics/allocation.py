"""Whether a live split gave each variant its share of the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmops_jupyter.errors import DataError

# Splits are looked at often, so only a plain fault is told (Fabijan et al., KDD 2019).
ALARM = 0.001


@dataclass(frozen=True)
class Allocation:
    """Units that each variant got, what it should have got, and how likely so great a deviation is."""

    counts: Mapping[str, int]
    expected: Mapping[str, float]
    p_value: float

    @property
    def is_off(self) -> bool:
        """Whether the deviation is a fault of the split, and comparisons on it mean nothing."""
        return self.p_value < ALARM


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> Allocation:
    """Pearson's chi-squared test of the counts against the shares.

    Args:
        counts: units (not calls) of each variant.
        shares: of the split; they need not add up to 1.

    Raises:
        DataError: there are no units, or the names or shares do not fit.
    """
    total, weight = sum(counts.values()), sum(shares.values())
    if set(counts) - set(shares):
        raise DataError(
            f"The split has no share for {', '.join(sorted(set(counts) - set(shares)))}."
        )
    if not total or len(shares) < 2:
        raise DataError("There is nothing to check: a split needs two variants and some units.")
    if any(not share > 0 for share in shares.values()):
        raise DataError("Shares of a split are greater than 0.")
    from scipy.stats import chisquare

    seen = {name: int(counts.get(name, 0)) for name in shares}
    expected = {name: total * share / weight for name, share in shares.items()}
    p_value = float(chisquare(list(seen.values()), list(expected.values())).pvalue)
    return Allocation(seen, expected, p_value)
