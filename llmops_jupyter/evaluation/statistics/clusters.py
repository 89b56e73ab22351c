"""Rows that belong together (repeats of one row, questions on one document): errors that know it.

Rows of a cluster say less than as many independent ones, and to treat them as independent finds
differences where there are none. The variance is the cluster-robust one with the CR2 correction and
Bell and McCaffrey's degrees of freedom (Survey Methodology 28, 2002; Pustejovsky and Tipton, Journal of
Business & Economic Statistics 36, 2018), which holds with few clusters of unequal size.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from llmops_jupyter.errors import DataError
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

# From so many clusters on, degrees of freedom no longer matter.
MANY = 500


def clustered_mean(
    values: Values, clusters: Sequence[Hashable], *, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of scores of which some belong together.

    Args:
        values: one score a row.
        clusters: the name of each row's cluster.
        confidence: of the interval.

    Raises:
        DataError: there are fewer than two clusters, or not one name for each row.
    """
    from scipy.stats import t

    check_confidence(confidence)
    found = numbers(values, "the scores", least=2)
    sums, sizes = totals(found - found.mean(), clusters)
    n, groups, value = len(found), len(sizes), float(found.mean())
    variance, df = cr2(sums, sizes)
    if variance <= (abs(value) * 1e-14) ** 2:
        half = unseen_share(groups, confidence)
        made = Interval(value - half, value + half, confidence, "all clusters equal")
        return Estimate(value, made, n, p_value=None, clusters=groups, df=df, se=0.0)
    se = math.sqrt(variance)
    half = float(t.ppf(0.5 + confidence / 2, df)) * se
    made = Interval(value - half, value + half, confidence, "CR2")
    p_value = float(2 * t.sf(abs(value) / se, df))
    return Estimate(value, made, n, p_value=p_value, test="CR2 t", clusters=groups, df=df, se=se)


def clustered_difference(
    a: Values,
    b: Values,
    clusters: Sequence[Hashable],
    *,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """How much higher b's mean is than a's on the same rows, of which some belong together.

    Raises:
        DataError: the rows do not go together, or there are fewer than two clusters.
    """
    first, second = paired(a, b, least=2)
    return clustered_mean(differences(first, second), clusters, confidence=confidence)


def totals(values: Numbers, clusters: Sequence[Hashable]) -> tuple[Numbers, Numbers]:
    """Sum and size of each cluster."""
    import numpy as np

    if len(clusters) != len(values):
        raise DataError(
            f"There are {len(values)} scores and {len(clusters)} names of clusters; each row needs one."
        )
    numbered = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    if len(numbered) < 2:
        raise DataError(
            "All rows are of one cluster, so nothing can be said of others like it. Add rows of other "
            "clusters, or leave the clusters out if the rows are independent."
        )
    places = np.fromiter((numbered[name] for name in clusters), dtype=np.intp, count=len(values))
    sums = np.bincount(places, weights=values, minlength=len(numbered))
    sizes = np.bincount(places, minlength=len(numbered)).astype(np.float64)
    return sums.astype(np.float64), sizes


def cr2(sums: Numbers, sizes: Numbers) -> tuple[float, float]:
    """Variance of a mean, and its degrees of freedom.

    Args:
        sums: of the residuals of each cluster.
        sizes: rows of each cluster.
    """
    import numpy as np

    n = float(sizes.sum())
    # (I - H) of one cluster has the eigenvalue 1 - size/n along its ones, and only that direction counts.
    adjust = 1 / np.sqrt(1 - sizes / n)
    variance = float(np.sum((adjust * sums) ** 2) / n**2)
    independent = _freedom(sizes / n**2, (adjust * sizes / n) / math.sqrt(n))
    # Whose rows differ as their clusters do is known from fewer; the truth lies between.
    alike = independent
    if len(sizes) <= MANY:
        parts = adjust / n * (np.diag(sizes) - np.outer(sizes, sizes) / n)
        together = parts.T @ parts
        alike = float(np.trace(together) ** 2 / np.sum(together**2))
    return variance, min(independent, alike)


def _freedom(diagonal: Numbers, outer: Numbers) -> float:
    """Satterthwaite's degrees of freedom of P, which has this diagonal and elsewhere the outer product."""
    import numpy as np

    squares = np.sum(diagonal**2) + np.sum(outer**2) ** 2 - np.sum(outer**4)
    return float(diagonal.sum() ** 2 / squares)


def design_effect(values: Values, clusters: Sequence[Hashable]) -> float:
    """How many times as many rows are needed as if they were independent; at least 1 (Kish 1965).

    The correlation within clusters is that of the one-way analysis of variance.
    """
    import numpy as np

    found = numbers(values, "the scores", least=2)
    sums, sizes = totals(found, clusters)
    groups, n = len(sizes), len(found)
    if groups == n:
        return 1.0
    between = float(np.sum(sizes * (sums / sizes - found.mean()) ** 2)) / (groups - 1)
    total = float(np.sum((found - found.mean()) ** 2))
    within = max(0.0, total - between * (groups - 1)) / (n - groups)
    typical = (n - float(np.sum(sizes**2)) / n) / (groups - 1)
    spread = between + (typical - 1) * within
    if spread <= 0:
        return 1.0
    icc = min(1.0, max(0.0, (between - within) / spread))
    return 1.0 + (float(np.sum(sizes**2)) / n - 1) * icc
