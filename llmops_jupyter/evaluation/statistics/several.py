"""Several comparisons at once: p-values that allow for their number."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llmops_jupyter.errors import DataError, OptionError

METHODS = {"holm": "holm", "benjamini-hochberg": "fdr_bh", "none": ""}


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
    if method == "none" or len(p_values) < 2:
        return [float(p) for p in p_values]
    from statsmodels.stats.multitest import multipletests

    with _unswept():
        return [float(p) for p in multipletests(list(p_values), method=METHODS[method])[1]]


@contextmanager
def _unswept() -> Iterator[None]:
    """Keep what there is from a collection of garbage: statsmodels begins each correction with one.

    In a kernel with much in memory that takes up to a second, for work of microseconds.
    """
    if gc.get_freeze_count():  # somebody else has frozen objects, and thawing would thaw those too
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
