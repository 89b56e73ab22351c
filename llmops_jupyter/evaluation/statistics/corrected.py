"""What people would say of all rows, from a judge's scores of all and people's of a few.

A judge's mean is biased by whatever the judge gets wrong. Labels of some rows tell the bias; the judge's
scores of the others make the estimate more precise than the labels alone (prediction-powered inference,
Angelopoulos et al., Science 382, 2023, with the power tuning of arXiv:2311.01453).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.statistics.estimate import (
    CONFIDENCE,
    Estimate,
    Interval,
    Numbers,
    Values,
    check_confidence,
    numbers,
)
from llmops_jupyter.evaluation.statistics.means import mean

# Labels from which the approximation by the t distribution is honest.
LEAST = 10
# How far away the added mistakes are, in ranges of the scores; found by simulation.
RARE = 0.7


@dataclass(frozen=True)
class Corrected:
    """The corrected mean beside what it is made of.

    Args:
        estimate: of what people would say on average.
        labels_alone: the same from the labels only.
        judge_alone: what the judge says, which may be biased: its interval does not know that.
        weight: how much the judge's scores count, from 0 to 1.
        bias: the judge's mean less people's, on the labelled rows.
    """

    estimate: Estimate
    labels_alone: Estimate
    judge_alone: Estimate
    weight: float
    bias: float


def corrected_mean(
    labels: Values,
    judged: Values,
    others: Values,
    *,
    confidence: float = CONFIDENCE,
) -> Corrected:
    """The mean that people would give to all rows.

    The labels must not have been used to make the judge, and the rows they are of must be drawn at random.

    Args:
        labels: people's scores of some rows.
        judged: the judge's scores of the same rows, in the same order.
        others: the judge's scores of the rows without labels.
        confidence: of the interval.

    Raises:
        DataError: there are fewer than 10 labels, no other rows, or not one judgement for each label.
    """
    import numpy as np
    from scipy.stats import t

    check_confidence(confidence)
    human = numbers(labels, "the labels", least=LEAST)
    judge = numbers(judged, "the judge's scores of labelled rows", least=LEAST)
    rest = numbers(others, "the judge's scores of rows without labels", least=2)
    if len(human) != len(judge):
        raise DataError(
            f"There are {len(human)} labels and {len(judge)} judgements of the same rows; each label "
            "needs one."
        )
    n, more = len(human), len(rest)
    everything = np.concatenate([judge, rest])
    weights = _weights(human, judge, float(everything.var(ddof=1)), n / more)
    weight = float(weights.mean())
    left = human - weights * judge
    value = float(left.mean() + weight * rest.mean())
    # Rare mistakes of a judge may be missing among few labels; two of them are added, one each way.
    rare = RARE * float(np.ptp(np.concatenate([human, judge])))
    known = np.concatenate([left, [left.mean() + rare, left.mean() - rare]])
    variance = float(known.var(ddof=1)) / (n + 2) + weight**2 * float(rest.var(ddof=1)) / more
    alone = mean(human, confidence=confidence)
    if variance <= 0:
        estimate = alone
    else:
        se = math.sqrt(variance)
        half = float(t.ppf(0.5 + confidence / 2, n - 1)) * se
        made = Interval(value - half, value + half, confidence, "prediction-powered")
        estimate = Estimate(value, made, n + more, df=n - 1, se=se)
    return Corrected(
        estimate,
        alone,
        mean(everything, confidence=confidence),
        weight,
        float(judge.mean() - human.mean()),
    )


def _weights(human: Numbers, judge: Numbers, spread: float, ratio: float) -> Numbers:
    """How much the judge's scores are to count, for each label from all others.

    A weight that knows the label whose rest it leaves makes intervals that are too narrow.
    """
    import numpy as np

    n = len(human)
    if spread <= 0 or n < 3:
        return np.zeros(n)
    products = (human - human.mean()) * (judge - judge.mean())
    without = (products.sum() - products * n / (n - 1)) / (n - 2)
    found: Numbers = np.clip(without / ((1 + ratio) * spread), 0.0, 1.0)
    return found
