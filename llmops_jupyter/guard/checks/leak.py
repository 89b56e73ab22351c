"""Words of the system message in an answer, one after the other."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.masking import masked, replaced
from llmops_jupyter.guard.plain import Plain, Span, merged, plain, readings
from llmops_jupyter.records import Place

WORDS = 12
# A system message of fewer words has nothing that could be told from a common phrase.
LEAST = 5
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Leak:
    """Finds `words` words in a row of the system message; those that the user said as well do not count."""

    words: int = WORDS
    name: str = "leak"
    places: tuple[Place, ...] = ("output",)

    def find(self, text: str, about: About) -> Finding:
        """Yes where the text repeats the system message."""
        told = _words(about.system)
        size = min(self.words, len(told))
        if size < LEAST:
            return Finding(None, False, "the run has no system message of some length")
        known = _grams(told, size)
        for message in about.messages:
            if message.role == "user":
                known -= _grams(_words(message.content), size)
        spans = merged([span for read in readings(text) for span in _repeats(read, known, size)])
        if not spans:
            return Finding(None, False, "it does not repeat the system message")
        first = text[spans[0][0] : spans[0][1]]
        reason = f"it repeats {size} words or more of the system message"
        return Finding(None, True, reason, masked(first), replaced(text, spans))


def make(words: int = WORDS) -> Leak:
    """The check 'leak'."""
    return Leak(words)


def _repeats(read: Plain, known: set[tuple[str, ...]], size: int) -> Iterator[Span]:
    """Where words in a row are known ones, each run once."""
    matches = list(_WORD.finditer(read.text))
    said = [_plain(m[0]) for m in matches]
    begin = end = -1
    for place in range(len(said) - size + 1):
        if tuple(said[place : place + size]) not in known:
            continue
        first, last = matches[place].start(), matches[place + size - 1].end()
        if end >= first:
            end = last
            continue
        if end > 0:
            yield (*read.back(begin, end), "[removed]")
        begin, end = first, last
    if end > 0:
        yield (*read.back(begin, end), "[removed]")


def _words(text: str) -> list[str]:
    return [_plain(w) for w in _WORD.findall(plain(text).text)]


def _plain(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _grams(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
