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
from llmops_jupyter.records import Place

# What a * in a phrase stands for: some characters of the same word.
_REST = r"\w{0,40}"


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
        missing = [p for p in self.required if not _pattern((p,), case=self.case).search(text)]
        if missing:
            return Finding(None, True, f"it lacks {missing[0]!r:.60}")
        matches = list(_pattern(self.banned, case=self.case).finditer(text)) if self.banned else []
        if not matches:
            return Finding(
                None, False, "no banned words" if self.banned else "the required words are there"
            )
        clean = replaced(text, [(m.start(), m.end(), "[removed]") for m in matches])
        return Finding(
            None, True, f"banned words are in it, {len(matches)}×", masked(matches[0][0]), clean
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
    found = []
    for phrase in phrases:
        words = [
            _REST.join(re.escape(part) for part in word.split("*"))
            for word in unicodedata.normalize("NFC", phrase).split()
        ]
        found.append(r"\s{1,20}".join(words))
    found.sort(key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(found)})(?!\w)", 0 if case else re.IGNORECASE)
