"""Answers in the documents' own words: the sentences that come nearest to a question."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.rag.support import Evidence, evidence
from llmops_jupyter.rag.wordmatch import WordMatch, telling
from llmops_jupyter.records import Citation, Hit

if TYPE_CHECKING:
    from llmops_jupyter.rag.embedding import Embedder

# Sentences that are compared by meaning, and how much the words count beside it.
COMPARED, WORDS = 12, 0.5
# Two sentences together must say clearly more than one of them.
TWO = 0.9
_RULE = re.compile(r"^[\s|:+=-]+$", re.MULTILINE)
# Of the best sentence's score: what a further one must reach.
NEAR = 0.8


def quotes(
    question: str,
    hits: Sequence[Hit],
    weight: Callable[[str], float],
    embedder: Embedder | None,
    most: int = 3,
) -> list[Citation]:
    """The sentences of passages that come nearest to a question, best first; the first is always there.

    A sentence counts by the share of the question's words that it has, weighted by rarity, and, with an embedder, by its
    cosine with the question. The passages' order decides between equals.
    """
    found = [e for i, hit in enumerate(hits) for e in evidence(i, hit.text) if _says(e.text)]
    if not found or not telling(question):
        return []
    match = WordMatch([e.text for e in found])
    try:
        weights = _weights(question, weight)
        total = sum(weights.values())
        shares = [0.0] * len(found)
        for word, value in weights.items():
            for i in match.having(word):
                shares[i] += value / total
    finally:
        match.close()
    order = sorted(
        range(len(found)),
        key=lambda i: (-round(shares[i], 6), found[i].passage, len(found[i].text)),
    )
    scores = {i: WORDS * shares[i] for i in order[:COMPARED]}
    if embedder is not None:
        vectors = embedder.embed([question, *(found[i].text for i in scores)])
        for place, i in enumerate(scores, 1):
            scores[i] += float(vectors[0] @ vectors[place])
    for i in scores:
        scores[i] *= TWO if found[i].two else 1.0
    best = sorted(scores, key=lambda i: (-scores[i], found[i].passage, len(found[i].text)))
    chosen: list[Evidence] = []
    for i in best:
        if len(chosen) == most or scores[i] < NEAR * scores[best[0]]:
            break
        if not any(_overlap(found[i], other) for other in chosen):
            chosen.append(found[i])
    return [e.citation(hits) for e in chosen]


def _weights(question: str, weight: Callable[[str], float]) -> dict[str, float]:
    """Of the question's words; those of its last line count twice, where the one before is there for context."""
    earlier, _, last = question.rpartition("\n")
    asked = set(telling(last)) if earlier else set()
    return {w: weight(w) * (2 if w in asked else 1) for w in telling(question)}


def _says(text: str) -> bool:
    """Whether a text is more than a heading of a table, a rule or a word or two."""
    return len(text.split()) > 2 and not _RULE.search(text.strip())


def _overlap(one: Evidence, other: Evidence) -> bool:
    if one.text.strip() in other.text or other.text.strip() in one.text:
        return True
    return one.passage == other.passage and one.begin < other.end and other.begin < one.end
