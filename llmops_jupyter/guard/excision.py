"""Taking the sentences out of a text that a check with a score objects to."""

from __future__ import annotations

import re
from collections.abc import Callable

# Texts with more sentences are denied as a whole: each one is scored by itself.
MOST = 400
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|[\r\n]+")


def spans_of(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends, with the gap behind it; together they are the text."""
    found = []
    at = 0
    for match in _END.finditer(text):
        if match.end() > at:
            found.append((at, match.end()))
            at = match.end()
    if at < len(text):
        found.append((at, len(text)))
    return found


def without_sentences(text: str, score: Callable[[str], float], threshold: float) -> str | None:
    """The text without the sentences that score the threshold or more; None if what is left still does.

    An attack that is spread over several sentences shows in none of them, so that nothing can be taken out.
    """
    spans = spans_of(text)
    if len(spans) > MOST:
        return None
    kept = [
        (begin, end)
        for begin, end in spans
        if not text[begin:end].strip() or score(text[begin:end].strip()) < threshold
    ]
    left = "".join(text[begin:end] for begin, end in kept)
    if len(kept) == len(spans) or (left.strip() and score(left) >= threshold):
        return None
    return left.strip()
