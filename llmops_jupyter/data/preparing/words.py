"""Texts as words, the same for all rules that compare texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Scripts that are written without spaces give a word for each character.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+(?:['’][^\W_{_UNSPACED}]+)*")
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^\s*(?:def |class |import |from \w+ import|return\b|if .*:$|for .*:$|while .*:$|#include|public |private "
    r"|const |let |var |function\b|func |fn |SELECT\b|INSERT\b|UPDATE\b|CREATE\b|<\/?\w+[^>]*>|[{}\])]+[;,]?$|.*[;{]$|\$ )"
)


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normal(text: str) -> str:
    """A text without its case, spaces and punctuation; equal for texts that say the same word for word."""
    return " ".join(words_of(text)) or " ".join(text.split())


def runs_of(words: Sequence[str], length: int) -> Iterator[str]:
    """Each run of so many words, as one text."""
    for start in range(len(words) - length + 1):
        yield " ".join(words[start : start + length])


def has_fence(text: str) -> bool:
    """Whether a text has a block of code in Markdown's fences."""
    return _FENCE.search(text) is not None


def is_code(text: str) -> bool:
    """Whether a text is, or holds, code: a fence, or a third of its lines look like code."""
    if has_fence(text):
        return True
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(bool(_CODE_LINE.match(line)) for line in lines) * 3 >= len(lines)
