"""Texts that are too long or too short."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.records import Place

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Length:
    """Finds texts with too many or too few characters or words; what it modifies is cut to the most allowed."""

    max_chars: int | None = None
    max_words: int | None = None
    min_chars: int | None = None
    min_words: int | None = None
    name: str = "length"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where a bound is not kept."""
        del about
        chars = len(text)
        ends = [m.end() for m in _WORD.finditer(text)] if self.max_words or self.min_words else []
        words = len(ends)
        if self.min_chars is not None and chars < self.min_chars:
            return Finding(None, True, f"{chars:,} characters, fewer than {self.min_chars:,}")
        if self.min_words is not None and words < self.min_words:
            return Finding(None, True, f"{words:,} words, fewer than {self.min_words:,}")
        cut = text
        reason = ""
        if self.max_words is not None and words > self.max_words:
            cut, reason = (
                text[: ends[self.max_words - 1]],
                f"{words:,} words, more than {self.max_words:,}",
            )
        if self.max_chars is not None and chars > self.max_chars:
            cut, reason = (
                cut[: self.max_chars],
                f"{chars:,} characters, more than {self.max_chars:,}",
            )
        return Finding(
            None, bool(reason), reason or "its length is right", replaced=cut if reason else None
        )


def make(
    max_chars: int | None = None,
    max_words: int | None = None,
    min_chars: int | None = None,
    min_words: int | None = None,
) -> Length:
    """The check 'length'.

    Raises:
        GuardError: there is no bound, or the bounds contradict each other.
    """
    if all(bound is None for bound in (max_chars, max_words, min_chars, min_words)):
        raise GuardError(
            "The check length has no bound. Give max_chars, max_words, min_chars or min_words."
        )
    for low, high in ((min_chars, max_chars), (min_words, max_words)):
        if low is not None and high is not None and low > high:
            raise GuardError(
                f"The check length wants at least {low} and at most {high}. Change one of them."
            )
    return Length(max_chars, max_words, min_chars, min_words)
