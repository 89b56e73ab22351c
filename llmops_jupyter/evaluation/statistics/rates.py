"""The rate at which something is so: one sample."""

from __future__ import annotations

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.evaluation.statistics.estimate import (
    CONFIDENCE,
    Estimate,
    Interval,
    Values,
    binary,
    check_confidence,
)

# The names of statsmodels for them.
METHODS = {"wilson": "wilson", "jeffreys": "jeffreys", "clopper-pearson": "beta"}


def rate(values: Values, *, confidence: float = CONFIDENCE, method: str = "wilson") -> Estimate:
    """The share of ones among zeros and ones.

    Args:
        values: 0 or 1 a row, independent of each other.
        confidence: of the interval.
        method: 'wilson' (Wilson 1927), 'jeffreys' (the Bayesian one with Jeffreys' prior) or
            'clopper-pearson', which never covers too rarely and is wider.

    Raises:
        DataError: there are no values, or they are not all 0 or 1.
        OptionError: there is no such method.
    """
    from statsmodels.stats.proportion import proportion_confint

    check_confidence(confidence)
    if method not in METHODS:
        raise OptionError(
            f"There is no method {method!r}.{did_you_mean(method, METHODS)} "
            f"Choose one of {', '.join(METHODS)}."
        )
    found = binary(values, "the scores")
    count, n = int(found.sum()), len(found)
    low, high = proportion_confint(count, n, alpha=1 - confidence, method=METHODS[method])
    made = Interval(float(low), float(high), confidence, method).within(0.0, 1.0)
    return Estimate(count / n, made, n)
