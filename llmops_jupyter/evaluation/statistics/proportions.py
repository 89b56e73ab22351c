"""Two rates on the same rows, and on different ones."""

from __future__ import annotations

import math

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics.estimate import (
    CONFIDENCE,
    Estimate,
    Interval,
    Values,
    binary,
    check_confidence,
    normal_quantile,
    paired,
)

METHODS = ("bonett-price", "tango")


def paired_rates(
    a: Values,
    b: Values,
    *,
    confidence: float = CONFIDENCE,
    method: str = "bonett-price",
) -> Estimate:
    """How much higher the rate of b is than that of a, both on the same rows.

    The interval is that of Bonett and Price (Journal of Educational and Behavioral Statistics 37, 2012) or
    of Tango (Statistics in Medicine 17, 1998); the p-value is McNemar's with the mid-p correction
    (Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13, 2013).

    Args:
        a: 0 or 1 a row.
        b: the other variant's, in the same order.
        confidence: of the interval.
        method: 'bonett-price' or 'tango'.

    Raises:
        DataError: the rows do not go together, or a score is not 0 or 1.
    """
    check_confidence(confidence)
    if method not in METHODS:
        raise OptionError(f"There is no method {method!r}. Choose one of {', '.join(METHODS)}.")
    first, second = paired(a, b)
    binary(first, "the first variant's scores")
    binary(second, "the second variant's scores")
    gained = int(((first == 0) & (second == 1)).sum())
    lost = int(((first == 1) & (second == 0)).sum())
    n = len(first)
    made = {"bonett-price": bonett_price, "tango": tango}[method](gained, lost, n, confidence)
    return Estimate(
        (gained - lost) / n, made, n, p_value=mcnemar_mid_p(gained, lost), test="McNemar, mid-p"
    )


def bonett_price(gained: int, lost: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wald's interval with one pair added to each kind of change."""
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = normal_quantile(confidence) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return Interval(up - down - half, up - down + half, confidence, "Bonett-Price").within(
        -1.0, 1.0
    )


def tango(gained: int, lost: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The differences that the score test does not reject."""
    from scipy.optimize import brentq

    z = normal_quantile(confidence)

    def score(difference: float) -> float:
        linear = -gained - lost + (2 * n - gained + lost) * difference
        root = linear**2 + 8 * n * lost * difference * (1 - difference)
        least = (math.sqrt(max(root, 0.0)) - linear) / (4 * n)
        variance = n * (2 * least + difference * (1 - difference))
        distance = gained - lost - n * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    def bound(target: float, low: float, high: float) -> float:
        at_low, at_high = score(low) - target, score(high) - target
        if at_low * at_high > 0:
            return low if abs(at_low) < abs(at_high) else high
        return float(brentq(lambda d: max(-1e6, min(1e6, score(d) - target)), low, high))

    value, edge = (gained - lost) / n, 1 - 1e-12
    low = -1.0 if value <= -1 else bound(z, -edge, value)
    high = 1.0 if value >= 1 else bound(-z, value, edge)
    return Interval(low, high, confidence, "Tango")


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Two-sided p-value that changes for better and for worse are equally likely."""
    from scipy.stats import binom

    changed, fewer = gained + lost, min(gained, lost)
    if not changed:
        return 1.0
    tail = 2 * binom.cdf(fewer, changed, 0.5) - binom.pmf(fewer, changed, 0.5)
    return float(min(1.0, tail))


def separate_rates(a: Values, b: Values, *, confidence: float = CONFIDENCE) -> Estimate:
    """How much higher the rate of b is than that of a, on rows that have nothing to do with each other.

    The interval is Newcombe's (Statistics in Medicine 17, 1998), the p-value that of the score test.

    Raises:
        DataError: a side has no rows, or a score is not 0 or 1.
    """
    import numpy as np
    from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

    check_confidence(confidence)
    first = binary(a, "the first variant's scores")
    second = binary(b, "the second variant's scores")
    counts = int(second.sum()), len(second), int(first.sum()), len(first)
    low, high = confint_proportions_2indep(*counts, method="newcomb", alpha=1 - confidence)
    value = float(second.mean() - first.mean())
    p_value = 1.0
    if 0 < counts[0] + counts[2] < counts[1] + counts[3]:
        with np.errstate(
            divide="ignore"
        ):  # the ratio that comes along is infinite where a count is 0
            p_value = float(test_proportions_2indep(*counts, method="score").pvalue)
    made = Interval(float(low), float(high), confidence, "Newcombe").within(-1.0, 1.0)
    return Estimate(value, made, counts[1] + counts[3], p_value=p_value, test="score test")
