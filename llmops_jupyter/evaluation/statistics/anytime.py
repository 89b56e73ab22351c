"""Intervals that hold at every look, however often one looks and whatever made one stop.

An interval for a fixed number of rows may be looked at once. Whoever adds rows until it excludes zero
finds differences where there are none: with 30 looks in about a third of all cases at a nominal 5 %.
These intervals are wider, and may be looked at as rows come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics.estimate import (
    CONFIDENCE,
    Estimate,
    Interval,
    Numbers,
    Values,
    check_confidence,
    differences,
    numbers,
    paired,
)

# Rows for which the wider of the two kinds of interval is made as narrow as it can be.
PLANNED = 300
GRID = 2_001
# A bet keeps at least this part of what it has.
CAUTION = 0.5
# Sizes of the bets that a mean is past a limit: parts of what is lost if a score is the worst that it can be, and
# standard deviations.
BETS = (0.5, 0.25, 0.125, 0.0625, 0.03125)
NORMAL_BETS = (1.0, 0.5, 0.25, 0.125)
# An upper bound of the sum of 1 / (k log(k)²) from 2 on, so that the parts of all bets come to less than 1.
SHARES = 2.11
# The normal approximation is not used for fewer rows.
LEAST = 20


def always_valid_mean(
    values: Values,
    low: float,
    high: float,
    *,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The mean of bounded scores, at every number of rows at once.

    The confidence sequence by betting of Waudby-Smith and Ramdas (Journal of the Royal Statistical Society
    B 86, 2024, the hedged capital process). It holds for any number of rows, without approximation.

    Args:
        values: one score a row, in the order in which the rows came; independent of each other.
        low: the least possible score.
        high: the greatest one.
        confidence: that the true mean is inside at all times.

    Raises:
        DataError: there are no scores.
        OptionError: a score is out of bounds.
    """
    import numpy as np

    check_confidence(confidence)
    found = numbers(values, "the scores")
    _check_bounds(found, low, high)
    unit = (found - low) / (high - low)
    inside = _not_ruled_out(unit, 1 - confidence)
    step = 1 / (GRID - 1)
    places = np.flatnonzero(inside)
    if len(places):
        bounds = float(max(0.0, (places[0] - 1) * step)), float(min(1.0, (places[-1] + 1) * step))
    else:  # between two points of the grid
        bounds = max(0.0, float(unit.mean()) - step), min(1.0, float(unit.mean()) + step)
    scale = high - low
    made = Interval(low + scale * bounds[0], low + scale * bounds[1], confidence, "betting")
    return Estimate(float(found.mean()), made, len(found))


def always_valid_p(
    values: Values,
    limit: float,
    *,
    bounds: tuple[float, float] | None = None,
    above: bool = True,
) -> float:
    """The p-value, at every number of rows at once, that the mean never went past a limit.

    Bets that it is past the limit begin anew at each row, with a part of what one has that falls about as 1 / k,
    in several sizes; the p-value is one over the most that they were worth together. So a change is found soon that
    comes late (the e-detectors of Shin, Ramdas and Rinaldo, New England Journal of Statistics in Data Science 2,
    2024, with weights that sum to one, by which Ville's inequality bounds the probability of a false alarm at any
    time and not only their frequency).

    Args:
        values: one score a row, in the order in which the rows came; independent of each other.
        limit: that the mean may be past.
        bounds: least and greatest possible score: the p-value is then exact; without, it rests on the normal
            approximation and needs 20 rows.
        above: whether past is above the limit, or below it.

    Raises:
        DataError: there are no scores.
        OptionError: a score is out of bounds.
    """
    import numpy as np

    found = numbers(values, "the scores")
    if bounds is None:
        spread = float(found.std(ddof=1)) if len(found) >= LEAST else 0.0
        if spread <= 0:
            return 1.0
        steps = (found - limit) / spread * (1 if above else -1)
        return _most_won([size * steps - size**2 / 2 for size in NORMAL_BETS])
    low, high = bounds
    _check_bounds(found, low, high)
    unit, middle = (found - low) / (high - low), (limit - low) / (high - low)
    if not above:
        unit, middle = 1 - unit, 1 - middle
    if middle <= 0:
        return 0.0 if middle < 0 or bool((unit > 0).any()) else 1.0
    if middle >= 1:
        return 1.0
    return _most_won([np.log1p(part / middle * (unit - middle)) for part in BETS])


def _most_won(gains: Sequence[Numbers]) -> float:
    """One over the most that bets were worth at any row, which begin at each row; from the logarithms of their gains."""
    import numpy as np

    n = len(gains[0])
    logs = np.log(np.arange(2, n + 2))
    shares = -math.log(SHARES) - logs - 2 * np.log(logs)
    worth = []
    for gain in gains:
        after = np.cumsum(gain)
        before = np.concatenate([[0.0], after[:-1]])
        worth.append(after + np.logaddexp.accumulate(shares - before))
    together = np.logaddexp.reduce(worth) - math.log(len(gains))
    return float(np.exp(-max(0.0, float(together.max()))))


def always_valid_difference(
    a: Values,
    b: Values,
    *,
    bounds: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
    planned: int = PLANNED,
) -> Estimate:
    """How much higher b's mean is than a's on the same rows, at every number of rows at once.

    Args:
        a: one score a row, in the order in which the rows came.
        b: the other variant's.
        bounds: least and greatest possible score, where the metric has them: the interval is then exact;
            else it rests on the normal approximation and needs 20 rows.
        confidence: of the interval at all times.
        planned: rows for which the normal one is narrowest.
    """
    first, second = paired(a, b)
    if bounds is not None:
        low, high = bounds
        return always_valid_mean(
            differences(first, second), low - high, high - low, confidence=confidence
        )
    n, difference = len(first), differences(first, second)
    value = float(difference.mean())
    if n < LEAST:
        made = Interval(-math.inf, math.inf, confidence, f"too few rows: {LEAST} are needed")
        return Estimate(value, made, n)
    spread = float(difference.std(ddof=1))
    return Estimate(
        value,
        always_valid(value, spread / math.sqrt(n), spread / math.sqrt(planned), confidence),
        n,
        se=spread / math.sqrt(n),
    )


def always_valid(value: float, se: float, planned_se: float, confidence: float) -> Interval:
    """The normal-mixture interval around an estimate that is about normal with this standard error.

    Robbins' mixture as in Johari et al. (Operations Research 70, 2022) and Waudby-Smith et al. (Annals of
    Statistics 52, 2024), of which the width is least at `planned_se`.

    Args:
        value: the estimate; of a difference, paired or not, clustered or not.
        se: its standard error now.
        planned_se: the standard error for which it is to be narrowest.
        confidence: of the interval at all times.
    """
    if se <= 0:
        return Interval(-math.inf, math.inf, confidence, "always valid, no spread seen yet")
    alpha = 1 - confidence
    best = -2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)
    mixture = best * planned_se**2
    ratio = se**2 / mixture
    half = se * math.sqrt((1 + ratio) * (math.log(1 + 1 / ratio) - 2 * math.log(alpha)))
    return Interval(value - half, value + half, confidence, "always valid, normal mixture")


def _check_bounds(found: Numbers, low: float, high: float) -> None:
    if not low < high or found.min() < low or found.max() > high:
        raise OptionError(
            f"Scores from {found.min():g} to {found.max():g} are not within the bounds {low:g} to "
            f"{high:g}. Give the bounds of the metric."
        )


def _not_ruled_out(unit: Numbers, alpha: float) -> Any:
    """Which means on the grid have never lost against the bets on them, up to the last row."""
    import numpy as np

    n = len(unit)
    grid = np.linspace(0.0, 1.0, GRID)
    times = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(unit)) / (times + 1)
    spreads = (0.25 + np.cumsum((unit - means) ** 2)) / (times + 1)
    before = np.concatenate([[0.25], spreads[:-1]])  # a bet knows only what came before
    bets = np.sqrt(2 * math.log(2 / alpha) / (before * times * np.log1p(times)))
    limit = math.log(2 / alpha)
    up, down = np.zeros(GRID), np.zeros(GRID)
    inside = np.ones(GRID, dtype=bool)
    with np.errstate(divide="ignore"):
        most_up, most_down = CAUTION / grid, CAUTION / (1 - grid)
    for value, bet in zip(unit, bets, strict=True):
        up += np.log1p(np.minimum(bet, most_up) * (value - grid))
        down += np.log1p(-np.minimum(bet, most_down) * (value - grid))
        inside &= np.maximum(up, down) < limit
    return inside
