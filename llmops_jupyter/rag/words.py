"""Queries for the full-text index: words only, so that nothing in a question is an operator."""

from __future__ import annotations

import re

# A query says nothing by these; kept if it has no others.
COMMON = frozenset(
    [
        "a",
        "about",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "done",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "may",
        "me",
        "might",
        "more",
        "most",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "of",
        "on",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "own",
        "same",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "up",
        "us",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
_WORD = re.compile(r"\w+")
# More words than any question has.
MOST = 64


def match_of(query: str) -> str:
    """An expression of FTS5 that finds any of the query's words; '' if it has none."""
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    telling = [w for w in words if w not in COMMON] or words
    return " OR ".join(f'"{word}"' for word in telling[:MOST])


def terms_of(query: str) -> list[str]:
    """The words of a query that tell something."""
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    return [w for w in words if w not in COMMON] or words
