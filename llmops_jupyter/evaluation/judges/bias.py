"""What a judge is swayed by: the place of an answer, and its length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter.evaluation.judges.pairs import PairScored
from llmops_jupyter.evaluation.metrics.metric import Case, Scored
from llmops_jupyter.evaluation.statistics import Estimate, Interval, rate
from llmops_jupyter.evaluation.statistics.estimate import CONFIDENCE, normal_quantile

# Decided pairs from which a regression on length is made.
LEAST = 20


@dataclass(frozen=True)
class PairBias:
    """How a judge of pairs is swayed.

    Args:
        place: share of pairs in which it chose the same place in both orders; None without pairs.
        longer: share of decided pairs in which the longer answer won; None if none was decided.
        at_equal_length: share of pairs that the second answer would win if both were as long, by a logistic
            regression of the verdict on the logarithm of the lengths' ratio (as Dubois et al. 2024,
            arXiv:2404.04475, adjust); None with too few pairs, or where length alone decides.
    """

    place: Estimate | None
    longer: Estimate | None
    at_equal_length: Estimate | None

    def sentences(self) -> list[str]:
        """The report in words."""
        lines = []
        if self.place is not None:
            lines.append(
                f"the judge chose by place, not by answer, in {_share(self.place)} of the pairs"
            )
        if self.longer is not None:
            lines.append(f"the longer answer won {_share(self.longer)} of the decided pairs")
        if self.at_equal_length is not None:
            lines.append(f"at equal length the second would win {_share(self.at_equal_length)}")
        return lines


def pair_bias(pairs: Sequence[tuple[Case, Case]], results: Sequence[PairScored]) -> PairBias:
    """How the verdicts depend on place and length."""
    asked = [r for r in results if r.label and not r.error and r.explanation.startswith("A ")]
    place = rate([float(bool(r.kept_place)) for r in asked]) if asked else None
    decided = [
        (len(b.output), len(a.output), r.value > 0)
        for (a, b), r in zip(pairs, results, strict=True)
        if r.value
    ]
    uneven = [(second > first) == won for second, first, won in decided if second != first]
    longer = rate([float(x) for x in uneven]) if uneven else None
    return PairBias(place, longer, _equal_length(decided))


def length_correlation(cases: Sequence[Case], scores: Sequence[Scored]) -> Estimate | None:
    """Spearman's rank correlation of a judge's scores with the answers' length; None if nothing varies.

    The interval is Fisher's with the variance of Bonett and Wright (Psychometrika 65, 2000).
    """
    from scipy.stats import spearmanr

    pairs = [
        (len(c.output), s.value) for c, s in zip(cases, scores, strict=True) if s.value is not None
    ]
    lengths, values = [p[0] for p in pairs], [p[1] for p in pairs]
    if len(pairs) < 5 or len(set(lengths)) < 2 or len(set(values)) < 2:
        return None
    r = float(spearmanr(lengths, values).statistic)
    if abs(r) > 1 - 1e-12:
        return Estimate(r, Interval(r, r, CONFIDENCE, "no variance"), len(pairs))
    half = normal_quantile(CONFIDENCE) * math.sqrt((1 + r**2 / 2) / (len(pairs) - 3))
    low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return Estimate(r, Interval(low, high, CONFIDENCE, "Fisher, Bonett-Wright"), len(pairs))


def _equal_length(decided: Sequence[tuple[int, int, bool]]) -> Estimate | None:
    """The intercept of the logistic regression, as a share."""
    if len(decided) < LEAST or len({won for _, _, won in decided}) < 2:
        return None
    import warnings

    import numpy as np
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import ModelWarning, PerfectSeparationError

    ratio = np.array([math.log((second + 1) / (first + 1)) for second, first, _ in decided])
    won = np.array([float(w) for _, _, w in decided])
    # Where length alone decides there is no such model, which it says in one of these ways.
    nowhere = (ModelWarning, PerfectSeparationError, RuntimeWarning, np.linalg.LinAlgError)
    with warnings.catch_warnings():
        for kind in (ModelWarning, RuntimeWarning):
            warnings.simplefilter("error", kind)
        try:
            found = sm.Logit(won, np.column_stack([np.ones_like(ratio), ratio])).fit(disp=0)
        except nowhere:
            return None
    half = normal_quantile(CONFIDENCE) * float(found.bse[0])
    middle = float(found.params[0])
    made = Interval(_sigmoid(middle - half), _sigmoid(middle + half), CONFIDENCE, "logistic")
    return Estimate(_sigmoid(middle), made, len(decided))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _share(estimate: Estimate) -> str:
    low, high = estimate.interval.low, estimate.interval.high
    return f"{estimate.value:.0%} ({low:.0%} to {high:.0%})"
