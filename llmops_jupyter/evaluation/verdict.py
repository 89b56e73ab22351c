"""From an interval to what may be said, and how many more rows it would take to say more."""

from __future__ import annotations

import math
from typing import Literal

from llmops_jupyter.evaluation.statistics import Estimate, Interval, always_valid
from llmops_jupyter.evaluation.statistics.planning import MOST, POWER

Verdict = Literal["better", "worse", "not worse", "undecided"]
# A difference that would take so many times the rows that there are is called out of reach.
FAR = 100
# Intervals by betting, those of metrics with bounds, take so many times the rows of the normal ones to find a
# difference with 80 % power (simulated: 74 to 84 % without it).
BETTING = 1.25


def verdict_of(
    estimate: Estimate,
    *,
    higher_is_better: bool,
    level: float,
    margin: float | None = None,
    p_value: float | None = None,
    strict: Interval | None = None,
) -> Verdict:
    """What the interval says of the second variant against the first.

    Args:
        estimate: of the second's value less the first's.
        higher_is_better: of the metric.
        level: under which the p-value must be, where there is one.
        margin: the loss that does not matter; None if any loss does.
        p_value: allowing for all comparisons that are made at once.
        strict: the interval that the margin is held against, allowing for them too; that of the estimate if
            it is left out.
    """
    low, high = estimate.interval.low, estimate.interval.high
    if not higher_is_better:
        low, high = -high, -low
    sure = p_value is None or p_value < level
    if low > 0 and sure:
        return "better"
    if high < 0 and sure:
        return "worse"
    bound = strict or estimate.interval
    if margin is not None and (bound.low if higher_is_better else -bound.high) > -margin:
        return "not worse"
    return "undecided"


def rows_wanted(
    difference: float,
    spread: float,
    n: int,
    *,
    confidence: float,
    planned: int,
    power: float = POWER,
    betting: bool = False,
) -> int | None:
    """Rows in all after which a later look finds a difference; None if that is out of reach.

    Args:
        difference: that is to be found.
        spread: standard deviation of the rows' differences.
        n: rows that there are.
        confidence: of the interval of later looks.
        planned: see `Look`.
        power: the probability of finding it.
        betting: whether later intervals are made by betting.
    """
    from scipy.stats import norm

    if not difference or not spread or not math.isfinite(difference):
        return None
    size, z = abs(difference), float(norm.ppf(power))
    most = min(MOST, FAR * max(n, 10))

    def is_enough(rows: int) -> bool:
        se = spread / math.sqrt(rows / BETTING if betting else rows)
        made = always_valid(0.0, se, spread / math.sqrt(planned), confidence)
        return made.high + z * se <= size

    low, high = n, max(2 * n, 20)
    while not is_enough(high):
        if high >= most:
            return None
        low, high = high, 2 * high
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
