"""Texts for traces: about 1 KB each, words by Zipf's law, no two alike."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

COMMON, RARE = "refund", "zeppelin"
COMMON_SHARE, RARE_SHARE = 0.3, 0.0005
WORDS = 150
_SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "we",
    "xi",
    "yo",
    "zu",
]
_VOCABULARY = ["".join(s) for s in itertools.product(_SYLLABLES, repeat=3)]
_WEIGHTS = list(itertools.accumulate(1 / rank for rank in range(1, len(_VOCABULARY) + 1)))


def exchanges(count: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Questions with answers. Of the questions, 30 % hold the common word and 0.05 % the rare one."""
    draw = random.Random(seed)
    for _ in range(count):
        asked = draw.choices(_VOCABULARY, cum_weights=_WEIGHTS, k=WORDS)
        if draw.random() < COMMON_SHARE:
            asked[draw.randrange(WORDS)] = COMMON
        if draw.random() < RARE_SHARE:
            asked[draw.randrange(WORDS)] = RARE
        made = draw.choices(_VOCABULARY, cum_weights=_WEIGHTS, k=WORDS)
        yield " ".join(asked), " ".join(made)
