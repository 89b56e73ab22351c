"""Whether passages speak of what is asked, before a model makes something of them.

A question names what it is about. Where its rare words are in none of the passages, or none of the documents, and no passage is
near it in meaning, no answer can be had from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmops_jupyter.rag.wordmatch import WordMatch, telling
from llmops_jupyter.records import Hit

# Words of questions that are seldom in their answers.
_TEXT = (
    "kind kinds type types many much long often name names list tell explain describe give show mean means meaning "
    "happen happens happened get gets got use used using work works way ways want need needs difference between "
    "please know possible exactly actually one two three thing things there say says said"
)
_ASKING = frozenset(_TEXT.split())
# Chosen on questions that have an answer and ones that have none; see docs/rag.md.
WORDS, LEAST, LEAST_WITHOUT_VECTORS = 0.4, 0.36, 0.0


@dataclass(frozen=True)
class Enough:
    """What speaks for an answer in the passages.

    Args:
        covered: the share of the question's words, weighted by rarity, that one passage has, at most.
        unseen: the share that none of the passages has.
        cosine: of the question with the nearest passage; None without vectors.
        missing: words that no passage has.
    """

    covered: float
    unseen: float
    cosine: float | None
    missing: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether words and meaning together speak for an answer."""
        words = self.covered - self.unseen
        if self.cosine is None:
            return words >= LEAST_WITHOUT_VECTORS
        return self.cosine + WORDS * words >= LEAST

    @property
    def why(self) -> str:
        """What is missing, in words."""
        if self.missing:
            return f"no passage has {', '.join(repr(w) for w in self.missing[:4])}"
        return "no passage is near the question"


def enough(
    question: str,
    hits: Sequence[Hit],
    weight: Callable[[str], float],
    cosine: float | None,
) -> Enough:
    """How far passages speak of what is asked."""
    words = [w for w in telling(question) if w not in _ASKING] or telling(question)
    words = [w for w in words if not re.fullmatch(r"\d", w)] or words
    if not hits or not words:
        return Enough(0.0, 1.0, cosine, tuple(words))
    match = WordMatch([f"{hit.source} {hit.text}" for hit in hits])
    try:
        total = sum(weight(w) for w in words)
        having = {w: match.having(w) for w in words}
    finally:
        match.close()
    shares = [sum(weight(w) for w in words if i in having[w]) / total for i in range(len(hits))]
    missing = [w for w in words if not having[w]]
    return Enough(max(shares), sum(map(weight, missing)) / total, cosine, tuple(missing))
