"""Texts as counts of hashed word and character n-grams: the features of the fitted checks.

The features are those of scikit-learn's HashingVectorizer (words of one and two, characters of three to five within
words), computed with NumPy over all texts at once: fitting and scoring share this code, and scoring loads no
scikit-learn. Feature hashing: Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning, section 2.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# Part of every weight file's digest: weights fit only the features that they were made on.
VERSION = "grams 1: words 1-2, characters 3-5 within words, 1 + log count, each kind of unit length"
SHORTEST, LONGEST = 3, 5
# Texts are put together up to so many characters, which bounds the memory.
TOGETHER = 200_000
_WORD = re.compile(r"\w+|[^\w\s]")
_GAP = re.compile(r"\s+")
_DIGITS = re.compile(r"\d")
_FACTOR = 0x9E3779B97F4A7C15
_MIX = 0xD6E8FEB86659FD93


@dataclass(frozen=True)
class Grams:
    """A sparse matrix: row, column and value of what is not 0; `rows` by 2**`bits`."""

    row: np.ndarray[Any, Any]
    column: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]
    rows: int
    bits: int

    def times(self, weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The product with one weight for each column: one figure for each row."""
        import numpy as np

        return np.bincount(self.row, self.value * weights[self.column], minlength=self.rows)


def grams(texts: Sequence[str], bits: int) -> Grams:
    """The features of texts, letters lower-cased and digits made 0; time and memory are linear in their length.

    Args:
        texts: any texts; an empty one has a row without features.
        bits: the binary logarithm of the number of columns.
    """
    import numpy as np

    parts = [_of_some(texts[a:b], a, bits) for a, b in _blocks(texts)]
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Grams(none, none, np.zeros(0), len(texts), bits)
    row, column, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Grams(row, column, value, len(texts), bits)


def _blocks(texts: Sequence[str]) -> list[tuple[int, int]]:
    blocks, begin, size = [], 0, 0
    for place, text in enumerate(texts):
        if size and size + len(text) > TOGETHER:
            blocks.append((begin, place))
            begin, size = place, 0
        size += len(text)
    if begin < len(texts):
        blocks.append((begin, len(texts)))
    return blocks


def _of_some(texts: Sequence[str], first: int, bits: int) -> tuple[Any, Any, Any]:
    import numpy as np

    plain = [_GAP.sub(" ", _DIGITS.sub("0", text.lower())).strip() for text in texts]
    found = [
        _valued(*_word_keys(plain), bits, len(texts)),
        _valued(*_character_keys(plain), bits, len(texts)),
    ]
    row, column, value = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return row + first, column, value


def _word_keys(texts: Sequence[str]) -> tuple[Any, Any]:
    """The row and the hash of each word and of each pair of neighbours."""
    import numpy as np

    words = [_WORD.findall(text) for text in texts]
    known: dict[str, int] = {}
    for word in (w for some in words for w in some):
        if word not in known:
            known[word] = zlib.crc32(word.encode("utf-8", "surrogatepass")) + 1
    single = np.array([known[w] for some in words for w in some], dtype=np.uint64)
    row = np.repeat(np.arange(len(words)), [len(some) for some in words])
    same = row[1:] == row[:-1]
    pairs = (single[:-1] * np.uint64(_FACTOR) + single[1:])[same]
    return np.concatenate([row, row[1:][same]]), np.concatenate([single, pairs])


def _character_keys(texts: Sequence[str]) -> tuple[Any, Any]:
    """The row and the hash of each n-gram that has no gap inside; a gap at its end marks the border of a word."""
    import numpy as np

    joined = " " + " ".join(texts) + " "
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    codes = codes.astype(np.uint64)
    ends = np.cumsum([len(text) + 1 for text in texts])
    row = np.searchsorted(ends, np.arange(len(codes)) - 1, side="right")
    gap = codes == ord(" ")
    rows, keys = [], []
    for n in range(SHORTEST, LONGEST + 1):
        count = len(codes) - n + 1
        if count <= 0:
            continue
        key = np.full(count, n, dtype=np.uint64)
        inside = np.zeros(count, dtype=bool)
        for k in range(n):
            key = key * np.uint64(_FACTOR) + codes[k : count + k]
            if 0 < k < n - 1:
                inside |= gap[k : count + k]
        kept = np.flatnonzero(~inside)
        rows.append(row[kept + 1])
        keys.append(key[kept])
    if not rows:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    return np.concatenate(rows), np.concatenate(keys)


def _valued(row: Any, key: Any, bits: int, rows: int) -> tuple[Any, Any, Any]:
    """Each column of a row once, valued 1 + log of its count, each row of unit length."""
    import numpy as np

    mixed = (key ^ (key >> np.uint64(29))) * np.uint64(_MIX)
    column = (mixed >> np.uint64(64 - bits)).astype(np.int64)
    both, count = np.unique((row.astype(np.int64) << bits) | column, return_counts=True)
    row, column = both >> bits, both & ((1 << bits) - 1)
    value = 1.0 + np.log(count)
    length = np.sqrt(np.bincount(row, value * value, minlength=rows))
    return row, column, value / length[row]
