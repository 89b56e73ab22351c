"""Differences between groups, beside the differences that harmless changes give.

Values are an array (texts, groups, changes). Where a group's members are what is changed (names, ages), members are
drawn: the test relabels them among the groups, all texts of a member together, so that a difference is one only if it
is larger than what other members of the same group give. Where the same harmless change is made on both sides
(gender, pronouns), texts are pairs: the test is the paired t of their means over the changes; of shares, which are
far from normal on few texts, it reverses signs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.statistics import Estimate, paired_means, separate_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

RELABELLINGS = 2_000
# So many ways to relabel are gone through one by one.
EXACT = 20_000
# Further digits of a mean are rounding.
DIGITS = 9


@dataclass(frozen=True)
class Contrast:
    """A group against the others.

    Args:
        estimate: the difference of means with its interval and p-value.
        floor: what 95 % of the differences between arbitrary halves of harmless changes stay below.
    """

    estimate: Estimate
    floor: float


def contrast(
    values: Values, group: int, *, of_members: bool, confidence: float, share: bool = False
) -> Contrast | None:
    """One group against the mean of the others; None if there is too little to say anything.

    Args:
        values: shape (texts, groups, changes); NaN where there is none.
        group: which one.
        of_members: whether the changes are members of the group.
        confidence: of the interval.
        share: whether values are 0 or 1.
    """
    import numpy as np

    usable = values[np.all(np.any(np.isfinite(values), axis=2), axis=1)]
    if not len(usable):
        return None
    others = [g for g in range(usable.shape[1]) if g != group]
    if of_members:
        return _of_members(usable, group, others, confidence)
    if len(usable) < 2:
        return None
    own = np.nanmean(usable[:, group], axis=1)
    rest = np.nanmean(np.nanmean(usable[:, others], axis=2), axis=1)
    method = "permutation" if share else "t"
    return Contrast(paired_means(rest, own, confidence=confidence, method=method), _floor(usable))


def _of_members(
    values: Values, group: int, others: list[int], confidence: float
) -> Contrast | None:
    import numpy as np

    # A member's value is its mean over texts, less what the text gives to everybody.
    level = np.nanmean(values, axis=(1, 2), keepdims=True)
    means: Values = np.asarray(np.round(np.nanmean(values - level, axis=0), DIGITS))
    own, rest = means[group], means[others].ravel()
    own, rest = own[np.isfinite(own)], rest[np.isfinite(rest)]
    if len(own) < 2 or len(rest) < 2:
        return None
    # Of a side of equal values the mean must be exact.
    zero = rest[0] if (rest == rest[0]).all() else own[0]
    made = separate_means(rest - zero, own - zero, confidence=confidence)
    p_value, floor = _relabelled(own, rest)
    estimate = Estimate(
        made.value, made.interval, len(values), p_value, "members relabelled", df=made.df
    )
    return Contrast(estimate, floor)


def _relabelled(own: Values, rest: Values) -> tuple[float, float]:
    """Two-sided p-value of a difference of means under all, or many, relabellings; and their 95 % point."""
    import numpy as np

    every = np.concatenate([own, rest])
    n, k = len(every), len(own)
    seen = abs(own.mean() - rest.mean())
    exact = math.comb(n, k) <= EXACT
    if exact:
        chosen: Any = np.array(list(itertools.combinations(range(n), k)))
    else:
        draw = np.random.default_rng(0)
        chosen = np.argsort(draw.random((RELABELLINGS, n)), axis=1)[:, :k]
    sums = every[chosen].sum(axis=1)
    differences = np.abs(sums / k - (every.sum() - sums) / (n - k))
    extreme = int((differences >= seen - 1e-12 * max(1.0, seen)).sum())
    p_value = extreme / len(chosen) if exact else (extreme + 1) / (len(chosen) + 1)
    return float(p_value), _within(own, rest)


def _within(own: Values, rest: Values) -> float:
    """What halves of the same group differ by, at the 95 % point: the groups are taken to their own means."""
    import numpy as np

    centred = np.concatenate([own - own.mean(), rest - rest.mean()])
    draw = np.random.default_rng(1)
    order = np.argsort(draw.random((RELABELLINGS, len(centred))), axis=1)
    k = len(own)
    first = centred[order[:, :k]].mean(axis=1)
    second = centred[order[:, k:]].mean(axis=1)
    return float(np.quantile(np.abs(first - second), 0.95))


def _floor(values: Values) -> float:
    """What arbitrary halves of the harmless changes of the same text and group differ by, at the 95 % point."""
    import numpy as np

    draw = np.random.default_rng(2)
    texts, groups, changes = values.shape
    filled = np.where(np.isfinite(values), values, np.nanmean(values, axis=2, keepdims=True))
    found = np.zeros(RELABELLINGS)
    for i in range(RELABELLINGS):
        # One order for a text, since the same changes are made in all of its groups.
        order = np.argsort(draw.random((texts, 1, changes)), axis=2)
        mixed = np.take_along_axis(filled, np.broadcast_to(order, (texts, groups, changes)), axis=2)
        half = changes // 2
        found[i] = (
            mixed[:, :, :half].mean(axis=2) - mixed[:, :, half : 2 * half].mean(axis=2)
        ).mean()
    return float(np.quantile(np.abs(found), 0.95))
