"""A text in parts that are scored on their own: sentences, windows of a few of them, and the whole.

An attack of one sentence drowns in a long text that is scored whole, and one that is spread over sentences shows in none of
them. Sentences are cut by a rule of our own and not by an optional package, so that a threshold means the same
wherever a text is scored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Longer stretches without an end of a sentence (tables, code, encoded text) are cut at a gap.
LONGEST = 400
WINDOW = 3
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|[\r\n]+")


def sentences(text: str) -> list[str]:
    """The sentences of a text, none empty, none longer than 400 characters; linear in its length."""
    found = []
    for part in _END.split(text):
        at = 0
        while len(part) - at > LONGEST:
            gap = part.rfind(" ", at + LONGEST // 2, at + LONGEST)
            cut = gap if gap > 0 else at + LONGEST
            found.append(part[at:cut].strip())
            at = cut
        found.append(part[at:].strip())
    return [part for part in found if part]


def windows(parts: Sequence[str], size: int = WINDOW) -> list[str]:
    """Each run of `size` sentences, overlapping by all but one; none when there are no more than `size`."""
    if len(parts) <= size:
        return []
    return [" ".join(parts[i : i + size]) for i in range(len(parts) - size + 1)]
