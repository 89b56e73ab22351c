"""What a sample says of a rate, a mean or a difference, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_jupyter.errors import DataError, OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Numbers: TypeAlias = "NDArray[np.float64]"
# What users hand in: one value a row.
Values: TypeAlias = "Sequence[Any] | NDArray[Any]"

CONFIDENCE = 0.95
# Of the largest score: scores that are closer than this are equal.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """Bounds that hold the true value in the given share of samples; `method` names how they were made."""

    low: float
    high: float
    confidence: float = CONFIDENCE
    method: str = ""

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        return self.high - self.low

    def within(self, low: float, high: float) -> Interval:
        """The same, cut to the values that are possible."""
        return replace(self, low=min(max(self.low, low), high), high=max(min(self.high, high), low))


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Args:
        value: the estimate.
        interval: of the true value.
        n: rows that it rests on.
        p_value: of the hypothesis that the true value is 0, where one was tested.
        test: how the p-value was made.
        clusters: groups of rows that belong together, where there are any.
        df: degrees of freedom, where the method has some.
        se: standard error, where the method has one.
    """

    value: float
    interval: Interval
    n: int
    p_value: float | None = None
    test: str = ""
    clusters: int | None = None
    df: float | None = None
    se: float | None = None


def numbers(values: Values, what: str, *, least: int = 1) -> Numbers:
    """Finite numbers as a one-dimensional array.

    Raises:
        DataError: some are missing, not finite or not numbers, or there are fewer than `least`.
    """
    import numpy as np

    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} are not all numbers; turn labels into numbers first.") from None
    if found.ndim != 1:
        raise DataError(f"{what} are one number a row, not an array of {found.ndim} dimensions.")
    if len(found) < least:
        raise DataError(
            f"There {'is' if len(found) == 1 else 'are'} {len(found)} of {what}; at least {least} are "
            "needed. Add rows."
        )
    bad = int(np.sum(~np.isfinite(found)))
    if bad:
        raise DataError(
            f"{bad} of {len(found)} of {what} are NaN or infinite; leave these rows out first."
        )
    return found


def binary(values: Values, what: str, *, least: int = 1) -> Numbers:
    """Numbers that are all 0 or 1; DataError otherwise."""
    found = numbers(values, what, least=least)
    if not is_binary(found):
        raise DataError(f"{what} are not all 0 or 1.")
    return found


def is_binary(values: Numbers) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def paired(a: Values, b: Values, *, least: int = 1) -> tuple[Numbers, Numbers]:
    """Two scores a row; DataError if they do not go together."""
    first = numbers(a, "the first variant's scores", least=least)
    second = numbers(b, "the second variant's scores", least=least)
    if len(first) != len(second):
        raise DataError(
            f"The variants have {len(first)} and {len(second)} scores; a paired comparison needs one of "
            "each for every row. Run both on the same rows."
        )
    return first, second


def differences(first: Numbers, second: Numbers) -> Numbers:
    """The second scores less the first, without what only rounding made of equal ones."""
    import numpy as np

    unit = ROUNDING * max(float(np.abs(first).max(initial=0)), float(np.abs(second).max(initial=0)))
    found: Numbers = second - first
    return np.round(found / unit) * unit if unit > 0 else found


def check_confidence(confidence: float) -> float:
    """A share above 0.5 and under 1; OptionError otherwise."""
    if not isinstance(confidence, int | float) or not 0.5 <= confidence < 1:
        raise OptionError(f"confidence is between 0.5 and 1, as in 0.95, not {confidence!r}.")
    return float(confidence)


def normal_quantile(confidence: float) -> float:
    """Of a two-sided interval."""
    from scipy.stats import norm

    return float(norm.ppf(0.5 + confidence / 2))


def unseen_share(n: int, confidence: float) -> float:
    """The largest share of rows that may be of a kind of which n rows had none (Clopper-Pearson)."""
    return 1.0 - math.exp(math.log((1.0 - confidence) / 2) / n)
