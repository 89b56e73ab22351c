"""A text in plain letters together with where each letter stood, for checks that take out what they find.

The same letters as `spelling.folded` gives, but made cluster by cluster, so that a place in the result leads back to the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from llmops_jupyter.guard import spelling

Span = tuple[int, int, str]

# A letter with what belongs to it: marks, vowels and finals of Hangul, characters without a shape.
_FOLLOWS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u093c\u0eb1\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a"
    "\ufe20-\ufe2f\u1160-\u11ff\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)
_CLUSTER = re.compile(rf"[^{_FOLLOWS}]?[{_FOLLOWS}]+|[^\x00-\x7f]")
# Marks behind one letter: more is a pile that nobody reads, and is cut.
_MOST = 40
# Some signs stand for twenty letters. Once a text has grown to twice its length and so much more, each becomes its first one.
GROWN = 1_000


@dataclass(frozen=True)
class Plain:
    """A text in plain letters.

    Args:
        text: the letters.
        begins: where in the original each of them begins; None where all places are the same.
        ends: where in the original each of them ends.
    """

    text: str
    begins: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def back(self, begin: int, end: int) -> tuple[int, int]:
        """The place in the original of a part that is not empty."""
        if self.begins is None or self.ends is None:
            return begin, end
        return self.begins[begin], self.ends[end - 1]


def plain(text: str, *, case: bool = True) -> Plain:
    """The text in plain letters; without `case` in small ones, 'ß' as 'ss'. Linear in the length."""
    if text.isascii():
        return Plain(text if case else text.lower())
    letters: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at = 0
    room = len(text) + GROWN

    def same(end: int) -> None:
        part = text[at:end]
        letters.append(part if case else part.lower())
        begins.extend(range(at, end))
        ends.extend(range(at + 1, end + 1))

    for match in _CLUSTER.finditer(text):
        same(match.start())
        at = match.end()
        made = _folded(match[0][:_MOST])
        made = made if case else made.casefold()
        room -= max(0, len(made) - len(match[0]))
        letters.append(made if room >= 0 else made[: len(match[0])])
        begins.extend([match.start()] * len(letters[-1]))
        ends.extend([match.end()] * len(letters[-1]))
    same(len(text))
    joined = "".join(letters)
    # Letters that look alike are changed by word, one for one.
    turned = spelling.latin(joined)
    return Plain(turned if len(turned) == len(joined) else joined, tuple(begins), tuple(ends))


@lru_cache(maxsize=65_536)
def _folded(cluster: str) -> str:
    """One letter with its marks as `spelling.folded` makes it, without regard to its neighbours."""
    return unicodedata.normalize("NFC", spelling.unmarked(cluster))


def readings(text: str, *, case: bool = True) -> Iterator[Plain]:
    """The text as it stands, and in plain letters if that is another."""
    first = Plain(text) if case else _small(text)
    yield first
    other = plain(text, case=case)
    if other.text != first.text:
        yield other


def _small(text: str) -> Plain:
    """The text in small letters, where each stays one; else as it stands."""
    low = text.lower()
    return Plain(low if len(low) == len(text) else text)


def merged(spans: list[Span]) -> list[Span]:
    """Spans in order, those that overlap made one with the first one's mark."""
    found: list[Span] = []
    for begin, end, mark in sorted(spans, key=lambda s: (s[0], -s[1])):
        if found and begin < found[-1][1]:
            last = found[-1]
            found[-1] = (last[0], max(last[1], end), last[2])
        else:
            found.append((begin, end, mark))
    return found
