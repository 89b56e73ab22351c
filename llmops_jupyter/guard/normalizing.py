"""The views of a text that a fitted check scores: the text, the same in plain letters, and what it hides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmops_jupyter.guard import decoding, language, spelling

# Of a longer text only so much from its beginning and as much from its end is read.
HALF = 500_000
# So much more than twice its length a text may become in plain letters.
GROWN = 1_000
_LONG_RUN = re.compile(r"[^\W\d_]{14,}")


@dataclass(frozen=True)
class View:
    """A text as it is scored, and what was done to it: '' for the text as it stands."""

    name: str
    text: str


def views(text: str) -> Iterator[View]:
    """The text and each other reading of it, none twice; linear in its length.

    Plain letters come before decodings, so that an encoding that is itself disguised is found.
    """
    cut = bounded(text)
    told = {cut}
    yield View("", cut)
    plain = plain_of(cut)
    for name, made in _spellings(cut, plain):
        if made.strip() and made not in told:
            told.add(made)
            yield View(name, made)
    for name, hidden in decoding.decoded(plain):
        if hidden.strip() and hidden not in told:
            told.add(hidden)
            yield View(name, hidden)


def bounded(text: str, most: int = 2 * HALF) -> str:
    """The text, or the beginning and the end of a longer one, of `most` characters together."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\n{text[-half:]}"


def plain_of(text: str) -> str:
    """The text in plain letters. Some signs stand for twenty: what grows beyond twice its length is cut in its middle."""
    return bounded(spelling.folded(bounded(text)), min(2 * HALF, 2 * len(text) + GROWN))


def unread(text: str) -> int:
    """How many characters of a text are not read: those in its middle, beyond a million."""
    return max(0, len(text) - 2 * HALF)


def _spellings(text: str, plain: str) -> Iterator[tuple[str, str]]:
    yield "Unicode tags", spelling.tagged(text)
    if plain != text:
        yield "plain letters", plain
    parted = spelling.parted(plain)
    if parted != plain:
        yield "words apart", parted
    figures = spelling.figures(parted)
    if figures != parted:
        yield "figures for letters", figures
    joined = spelling.joined(figures)
    if joined != figures:
        yield "letters apart", _LONG_RUN.sub(lambda run: language.parted(run[0][:400]), joined)
