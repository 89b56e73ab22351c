"""Words and phrases that must not, or must, be in a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.masking import masked, replaced
from llmops_jupyter.guard.plain import Plain, Span, merged, readings
from llmops_jupyter.records import Place

# What a * in a phrase stands for: some characters of the same word.
_REST = r"\w{0,40}"
# Between words: gaps, or a sign that joins them, as in 'free-gift'.
_GAP = r"(?:\s{1,20}|\s?[-_*+/|·‐-―]{1,3}\s?|\.(?=\w))"
_PARTS = re.compile(r"\s+|(?<=\w)[-_‐-―](?=\w)")


@dataclass(frozen=True)
class Words:
    """Finds banned phrases, and texts that lack a required one. Phrases are whole words; ``*`` is the rest of a word.

    Letters match in either case unless `case` is on, and gaps match any gap.
    """

    banned: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    case: bool = False
    name: str = "words"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where a banned phrase is in the text, or a required one is not."""
        del about
        read = list(readings(text, case=self.case))
        missing = [p for p in self.required if not self._spans(read, (p,))]
        if missing:
            return Finding(None, True, f"it lacks {missing[0]!r:.60}")
        spans = self._spans(read, self.banned) if self.banned else []
        if not spans:
            return Finding(
                None, False, "no banned words" if self.banned else "the required words are there"
            )
        first = text[spans[0][0] : spans[0][1]]
        return Finding(
            None,
            True,
            f"banned words are in it, {len(spans)}×",
            masked(first),
            replaced(text, spans),
        )

    def _spans(self, read: Sequence[Plain], phrases: tuple[str, ...]) -> list[Span]:
        pattern = _pattern(phrases, case=self.case)
        return merged(
            [
                (*one.back(*match.span()), "[removed]")
                for one in read
                for match in pattern.finditer(one.text)
            ]
        )


def make(banned: Sequence[str] = (), required: Sequence[str] = (), case: bool = False) -> Words:
    """The check 'words'.

    Raises:
        GuardError: there are no phrases, or one is empty or begins with ``*``.
    """
    if not banned and not required:
        raise GuardError(
            "The check words has no words. Give banned or required, as in banned: [refund]."
        )
    for phrase in (*banned, *required):
        if not phrase.strip() or phrase.strip().startswith("*"):
            raise GuardError(
                f"{phrase!r} is no phrase: it begins with a letter, and * is the rest of a word."
            )
    return Words(tuple(banned), tuple(required), case)


@lru_cache(maxsize=256)
def _pattern(phrases: tuple[str, ...], *, case: bool) -> re.Pattern[str]:
    """Any of the phrases; takes time in proportion to the text, since each part of it is bounded."""
    found = set()
    for phrase in phrases:
        for reading in readings(unicodedata.normalize("NFC", phrase), case=case):
            words = [
                _REST.join(re.escape(part) for part in word.split("*"))
                for word in _PARTS.split(reading.text.strip())
            ]
            found.add(_GAP.join(words))
    longest = sorted(found, key=lambda p: (-len(p), p))
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest)})(?!\w)", 0 if case else re.IGNORECASE)
