"""Which texts have nearly the same words, without comparing all with all.

The texts of a pair must agree in their rarer words first: half of the distinct words of each, the rarest. That
is one product of sparse matrices, whose cost words that are everywhere do not drive up. What agrees there is
compared word for word. A copy in which a tenth of the words was changed keeps about four fifths of its rarer
words, so that the first step loses none of them; benchmarks/RESULTS.md has the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

FEATURES = 1 << 20
BLOCK = 256
# The cosine of the rarer words from which a pair is compared word for word.
LIKELY = 0.5
# Pairs that are compared for each text, those that agree best; and others that show what is common to many.
MOST, SHOWING = 32, 24
# Multiplications, about a minute; beyond that the most common words are not looked up.
MOST_WORK = 2e10


@dataclass(frozen=True)
class Neighbours:
    """A text's place, the places of those that may be near it, the likeliest first, and of some of all these."""

    place: int
    likely: Sequence[int]
    some: Sequence[int]


def neighbours(texts: Sequence[Sequence[str]]) -> Iterator[Neighbours]:
    """For each text, given as its words, those that may be near it; texts without any are left out."""
    import numpy as np

    if not texts:
        return
    rare, weighted = _rarer(_counts(texts))
    flat, heavy = rare.T.tocsr(), weighted.T.tocsr()
    for start in range(0, len(texts), BLOCK):
        found = rare[start : start + BLOCK] @ flat
        # The same words are in both, so that both products have their entries in the same order.
        weights = (weighted[start : start + BLOCK] @ heavy).data
        for row in range(found.shape[0]):
            here = slice(found.indptr[row], found.indptr[row + 1])
            others, cosines = found.indices[here], found.data[here]
            enough = (cosines >= LIKELY) & (others != start + row)
            if enough.any():
                others, order = others[enough], -weights[here][enough]
                likely = others[np.lexsort((others, order))][:MOST]
                spread = np.sort(others)
                spread = spread[:: max(1, len(spread) // SHOWING)][:SHOWING]
                yield Neighbours(start + row, likely.tolist(), spread.tolist())


def _counts(texts: Sequence[Sequence[str]]) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer=_as_given, n_features=FEATURES, norm=None, alternate_sign=False
    )
    return hashing.transform(texts).tocsr()


def _as_given(words: Sequence[str]) -> Sequence[str]:
    return words


def _rarer(counts: Any) -> tuple[Any, Any]:
    """The rarer half of the words of each text at length 1; and the same weighted by how rare they are."""
    import numpy as np
    from sklearn.preprocessing import normalize

    frequency = np.bincount(counts.indices, minlength=FEATURES)
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    order = np.lexsort((counts.indices, frequency[counts.indices], rows))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - counts.indptr[rows[order]]
    half = (np.diff(counts.indptr) + 1) // 2
    rare = counts.copy()
    rare.data[rank >= half[rows]] = 0
    rare.eliminate_zeros()
    shared = np.sort(np.bincount(rare.indices, minlength=FEATURES)).astype(float)
    within = shared[np.cumsum(shared**2) <= MOST_WORK]
    common = within[-1] if len(within) else 0
    rare.data[np.bincount(rare.indices, minlength=FEATURES)[rare.indices] > common] = 0
    rare.eliminate_zeros()
    weighted = rare.copy()
    weighted.data *= np.log1p(counts.shape[0] / frequency[rare.indices])
    return normalize(rare), normalize(weighted)


def cosine(a: Counter[str], b: Counter[str]) -> float:
    """The cosine of two counts of words."""
    if len(b) < len(a):
        a, b = b, a
    dot = sum(n * b[word] for word, n in a.items() if word in b)
    length = sum(n * n for n in a.values()) * sum(n * n for n in b.values())
    return float(dot / length**0.5) if length else 0.0


def shared(a: Counter[str], b: Counter[str]) -> float:
    """The share of the words of two texts that both have (Dice, each repeat counted)."""
    if len(b) < len(a):
        a, b = b, a
    both = sum(min(n, b[word]) for word, n in a.items() if word in b)
    total = a.total() + b.total()
    return 2 * both / total if total else 0.0
