"""Means of scores, and how far two of them are apart: rows that are independent of each other."""

from __future__ import annotations

import math

from llmops_jupyter.errors import OptionError, did_you_mean
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
    unseen_share,
)

METHODS = ("auto", "t", "bootstrap", "permutation")
# Samples of so few rows are tested by all (or many) reversals of signs instead of by the t distribution.
FEW = 30
RESAMPLES = 9_999


def mean(values: Values, *, confidence: float = CONFIDENCE, method: str = "t") -> Estimate:
    """The mean of scores with its interval.

    Args:
        values: one score a row, independent of each other.
        confidence: of the interval.
        method: 't' or 'bootstrap' (bias-corrected and accelerated, Efron 1987).

    Raises:
        DataError: there are fewer than two scores, or some are not finite.
    """
    check_confidence(confidence)
    found = numbers(values, "the scores", least=2)
    return _estimate(found, confidence, "bootstrap" if method == "bootstrap" else "t", seed=0)


def paired_means(
    a: Values,
    b: Values,
    *,
    confidence: float = CONFIDENCE,
    method: str = "auto",
    seed: int = 0,
) -> Estimate:
    """How much higher b's mean score is than a's, both on the same rows.

    Args:
        a: one score a row.
        b: the other variant's, in the same order.
        confidence: of the interval.
        method: 't': interval and test by the t distribution; 'bootstrap': the interval by the
            bias-corrected and accelerated bootstrap; 'permutation': the test by reversing signs (exact up
            to 13 rows); 'auto' is 't', with the test by permutation under 30 rows.
        seed: of what is drawn.

    Raises:
        DataError: the rows do not go together, or there are fewer than two.
    """
    check_confidence(confidence)
    if method not in METHODS:
        raise OptionError(
            f"There is no method {method!r}.{did_you_mean(method, METHODS)} "
            f"Choose one of {', '.join(METHODS)}."
        )
    first, second = paired(a, b, least=2)
    difference = differences(first, second)
    few = method == "auto" and len(difference) < FEW
    made = _estimate(difference, confidence, "bootstrap" if method == "bootstrap" else "t", seed)
    if few or method == "permutation":
        p_value, test = _by_signs(difference, seed), "signs reversed"
    else:
        p_value, test = _by_t(difference), "paired t"
    return Estimate(
        made.value, made.interval, made.n, p_value=p_value, test=test, df=made.df, se=made.se
    )


def separate_means(a: Values, b: Values, *, confidence: float = CONFIDENCE) -> Estimate:
    """How much higher b's mean is than a's on rows that have nothing to do with each other (Welch 1947).

    Raises:
        DataError: a side has fewer than two rows.
    """
    from scipy.stats import ttest_ind

    check_confidence(confidence)
    first = numbers(a, "the first variant's scores", least=2)
    second = numbers(b, "the second variant's scores", least=2)
    value = float(second.mean() - first.mean())
    n = len(first) + len(second)
    if first.std() == 0 and second.std() == 0:
        return Estimate(value, _without_spread(value, min(len(first), len(second)), confidence), n)
    found = ttest_ind(second, first, equal_var=False)
    bounds = found.confidence_interval(confidence)
    made = Interval(float(bounds.low), float(bounds.high), confidence, "Welch")
    se = abs(value / found.statistic) if found.statistic else None
    return Estimate(
        value, made, n, p_value=float(found.pvalue), test="Welch's t", df=float(found.df), se=se
    )


def _estimate(values: Numbers, confidence: float, method: str, seed: int) -> Estimate:
    """Mean with interval."""
    from scipy import stats

    n, value = len(values), float(values.mean())
    se = float(values.std(ddof=1) / math.sqrt(n))
    if se <= abs(value) * 1e-14:
        return Estimate(value, _without_spread(value, n, confidence), n, df=n - 1, se=0.0)
    if method == "bootstrap":
        import numpy as np

        found = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=confidence,
            n_resamples=RESAMPLES,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        made = Interval(float(found.low), float(found.high), confidence, "bootstrap, BCa")
        if math.isfinite(made.low) and math.isfinite(made.high):
            return Estimate(value, made, n, df=n - 1, se=se)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * se
    return Estimate(
        value, Interval(value - half, value + half, confidence, "t"), n, df=n - 1, se=se
    )


def _without_spread(value: float, n: int, confidence: float) -> Interval:
    """Of n equal scores: some of another kind may just not have come.

    So many of them may be 1 away as a share of which n rows have none with the confidence that is asked
    for; scores with a wider range deserve more.
    """
    half = unseen_share(n, confidence)
    return Interval(value - half, value + half, confidence, "all equal")


def _by_t(difference: Numbers) -> float:
    from scipy.stats import ttest_1samp

    if difference.std() == 0:
        return _by_signs(difference, 0)
    return float(ttest_1samp(difference, 0.0).pvalue)


def _by_signs(difference: Numbers, seed: int) -> float:
    """Two-sided p-value that the differences lie symmetrically around 0, by reversing their signs."""
    import numpy as np
    from scipy.stats import permutation_test

    changed = difference[difference != 0]
    if not len(changed):
        return 1.0
    if len(changed) == 1:
        return 1.0
    found = permutation_test(
        (changed,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
