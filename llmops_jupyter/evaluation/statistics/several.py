"""Several comparisons at once: p-values that allow for their number.

The corrections are a few lines, and stand here because those of statsmodels sweep the whole memory for garbage at each
call, which takes a kernel with much in it up to a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from llmops_jupyter.errors import DataError, OptionError


def adjusted(p_values: Sequence[float], method: str = "holm") -> list[float]:
    """P-values for a family of tests, in the order in which they were given.

    Args:
        p_values: between 0 and 1.
        method: 'holm' (Holm 1979), by which the probability of any false finding stays under the level;
            'benjamini-hochberg' (1995), by which the expected share of false findings does; or 'none'.

    Raises:
        DataError: a p-value is not between 0 and 1.
        OptionError: there is no such method.
    """
    if method not in METHODS:
        raise OptionError(f"There is no correction {method!r}. Choose one of {', '.join(METHODS)}.")
    if any(not 0 <= p <= 1 for p in p_values):
        raise DataError("P-values lie between 0 and 1.")
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = METHODS[method]([float(p_values[place]) for place in order])
    return [p for _, p in sorted(zip(order, corrected, strict=True))]


def _holm(ascending: list[float]) -> list[float]:
    n = len(ascending)
    return [min(1.0, p) for p in accumulate((p * (n - i) for i, p in enumerate(ascending)), max)]


def _benjamini_hochberg(ascending: list[float]) -> list[float]:
    n = len(ascending)
    falling = accumulate((ascending[i] / ((i + 1) / n) for i in reversed(range(n))), min)
    return [min(1.0, p) for p in falling][::-1]


METHODS: dict[str, Callable[[list[float]], list[float]]] = {
    "holm": _holm,
    "benjamini-hochberg": _benjamini_hochberg,
    "none": list,
}
