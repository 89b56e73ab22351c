"""How far two or more judges, human or not, agree beyond chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.statistics.estimate import (
    CONFIDENCE,
    Estimate,
    Interval,
    check_confidence,
    normal_quantile,
)

RESAMPLES = 2_000
LEVELS = ("nominal", "ordinal", "interval", "ratio")


def cohens_kappa(
    a: Sequence[Hashable], b: Sequence[Hashable], *, confidence: float = CONFIDENCE
) -> Estimate:
    """Cohen's κ of two judges of the same items, with the interval of Fleiss, Cohen and Everitt (1969).

    Where both gave all items the same label, chance alone explains it: κ is then 0, with an interval
    that says that nothing is known.

    Args:
        a: one label an item.
        b: the other judge's, in the same order.
        confidence: of the interval.

    Raises:
        DataError: there are no items, or not two labels for each.
    """
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa as of_table

    check_confidence(confidence)
    if len(a) != len(b) or not a:
        raise DataError(f"κ needs two labels for each item; there are {len(a)} and {len(b)}.")
    labels = {label: i for i, label in enumerate(dict.fromkeys([*a, *b]))}
    nothing = Interval(-1.0, 1.0, confidence, "one label only")
    if len(labels) == 1:
        return Estimate(0.0, nothing, len(a))
    table = np.zeros((len(labels), len(labels)))
    for one, other in zip(a, b, strict=True):
        table[labels[one], labels[other]] += 1
    if len(set(a)) == 1 or len(set(b)) == 1:  # no better than chance by definition, and no variance
        return Estimate(0.0, nothing, len(a))
    found = of_table(table)
    se = float(found.std_kappa)
    half = normal_quantile(confidence) * se
    low, high = float(found.kappa) - half, float(found.kappa) + half
    if se == 0:  # they never disagree: allow for the disagreements that did not come
        low = float(found.kappa) - 2 * (1 - math.pow((1 - confidence) / 2, 1 / len(a)))
    made = Interval(low, high, confidence, "asymptotic").within(-1.0, 1.0)
    return Estimate(float(found.kappa), made, len(a), se=se)


def krippendorffs_alpha(
    ratings: Mapping[str, Mapping[str, Any]],
    *,
    level: str = "nominal",
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """Krippendorff's α of any number of judges, of whom each may have left items out.

    The interval comes from drawing items anew.

    Args:
        ratings: of each judge, the label of each item.
        level: 'nominal', 'ordinal', 'interval' or 'ratio': what the labels' differences mean.
        confidence: of the interval.
        seed: of the draws.

    Raises:
        DataError: there are fewer than two judges, or no item that two of them judged.
    """
    import krippendorff
    import numpy as np

    check_confidence(confidence)
    if level not in LEVELS:
        raise OptionError(f"There is no level {level!r}. Choose one of {', '.join(LEVELS)}.")
    items = sorted({item for labels in ratings.values() for item in labels})
    shared = [i for i in items if sum(i in labels for labels in ratings.values()) > 1]
    if len(ratings) < 2 or not shared:
        raise DataError("α needs at least two judges and an item that two of them judged.")
    values = {labels[i] for labels in ratings.values() for i in shared if i in labels}
    if len(values) < 2:
        made = Interval(-1.0, 1.0, confidence, "one label only")
        return Estimate(0.0, made, len(shared))
    number = _numbered(values, level)
    table = np.array(
        [
            [number[labels[i]] if i in labels else np.nan for i in shared]
            for labels in ratings.values()
        ]
    )

    def alpha(data: Any) -> float:
        seen = data[~np.isnan(data)]
        if len(np.unique(seen)) < 2:
            return math.nan
        return float(krippendorff.alpha(reliability_data=data, level_of_measurement=level))

    value = alpha(table)
    draws = np.random.default_rng(seed).integers(len(shared), size=(RESAMPLES, len(shared)))
    found = np.array([alpha(table[:, draw]) for draw in draws])
    found = found[~np.isnan(found)]
    tail = (1 - confidence) / 2
    low, high = (np.quantile(found, [tail, 1 - tail])) if len(found) else (-1.0, 1.0)
    if value == 1:  # no draw has a disagreement: allow for those that did not come, as for κ
        low = 1 - 2 * (1 - math.pow(tail, 1 / len(shared)))
    return Estimate(
        value, Interval(float(low), float(high), confidence, "bootstrap over items"), len(shared)
    )


def _numbered(values: set[Any], level: str) -> dict[Any, float]:
    if all(isinstance(v, int | float) for v in values):
        return {v: float(v) for v in values}
    if level != "nominal":
        raise DataError(f"Labels of level {level!r} are numbers; these are words.")
    return {v: float(i) for i, v in enumerate(sorted(values, key=str))}
