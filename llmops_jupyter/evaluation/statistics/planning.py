"""How many rows a comparison needs, and what it could see with those there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics.estimate import CONFIDENCE, check_confidence

POWER = 0.8
# More rows than anybody evaluates; beyond, a difference is called out of reach.
MOST = 10_000_000


@dataclass(frozen=True)
class Plan:
    """What a paired comparison can see.

    Args:
        rows: in the comparison.
        detectable: the least difference that is found with the power that is asked for.
        power: the probability with which it is found.
        spread: standard deviation of the rows' differences that it assumes.
        design_effect: how many times as many rows clusters make necessary.
    """

    rows: int
    detectable: float
    power: float
    spread: float
    design_effect: float = 1.0


def rows_needed(
    difference: float,
    spread: float,
    *,
    power: float = POWER,
    confidence: float = CONFIDENCE,
    design_effect: float = 1.0,
) -> int | None:
    """Rows after which a paired t test finds a difference; None if that is out of reach.

    Args:
        difference: that is to be found; its sign does not matter.
        spread: standard deviation of the rows' differences, see `binary_spread`.
        power: the probability of finding it.
        confidence: of the interval that is to exclude 0.
        design_effect: see `clusters.design_effect`.
    """
    from scipy.stats import norm

    _check(power, spread, design_effect)
    alpha = 1 - check_confidence(confidence)
    if not difference or not math.isfinite(difference):
        return None
    if not spread:
        return 2
    effect = abs(difference) / spread
    about = ((norm.ppf(1 - alpha / 2) + norm.ppf(power)) / effect) ** 2
    if about * design_effect > MOST:
        return None
    if about < 1:
        return max(2, math.ceil(4 * design_effect))
    found = _solved(lambda n: _power(effect, n, alpha) - power, max(2.0, about / 2), 4 * about + 20)
    return max(2, math.ceil(float(found) * design_effect))


def detectable(
    rows: int,
    spread: float,
    *,
    power: float = POWER,
    confidence: float = CONFIDENCE,
    design_effect: float = 1.0,
) -> Plan:
    """The least difference that a paired t test finds with these rows.

    Raises:
        OptionError: there are fewer than two rows, or a value is out of range.
    """
    _check(power, spread, design_effect)
    alpha = 1 - check_confidence(confidence)
    effective = rows / design_effect
    if effective < 2:
        raise OptionError(f"{rows} rows are too few to compare anything; at least two are needed.")
    most = 1.0
    while _power(most, effective, alpha) < power:
        most *= 2
    effect = _solved(lambda size: _power(size, effective, alpha) - power, 0.0, most)
    return Plan(rows, effect * spread, power, spread, design_effect)


def _power(effect: float, rows: float, alpha: float) -> float:
    """Of the paired t test; where its distribution overflows, the difference is always found."""
    from statsmodels.stats.power import ttest_power

    found = float(ttest_power(effect, rows, alpha))
    return 1.0 if math.isnan(found) else found


def _solved(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=1e-9, rtol=1e-9))


def binary_spread(changed: float, difference: float = 0.0) -> float:
    """Standard deviation of paired differences of 0 and 1.

    Args:
        changed: share of rows on which the variants differ.
        difference: of their rates.
    """
    if not 0 <= changed <= 1 or abs(difference) > changed:
        raise OptionError(
            "The share of rows that change is between 0 and 1, and no smaller than the difference."
        )
    return math.sqrt(changed - difference**2)


def _check(power: float, spread: float, design_effect: float) -> None:
    if not 0 < power < 1:
        raise OptionError(f"power is between 0 and 1, as in 0.8, not {power!r}.")
    if not spread >= 0 or not math.isfinite(spread):
        raise OptionError(f"The spread of the differences is a number from 0, not {spread!r}.")
    if not design_effect >= 1:
        raise OptionError(f"A design effect is 1 or more, not {design_effect!r}.")
