"""Chunks: pieces of sections that fit the embedder's window, cut where the text itself pauses.

A chunk is the passage that is shown and cited; what is embedded has the headings above it as well, since a
passage often says what it is about only there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.rag.sections import Section

# Tokens of a chunk; measured on the chunking set, see docs/rag.md.
TOKENS = 200
# Where a text pauses, from the widest pause to the narrowest.
_PAUSES = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+"),
    re.compile(r"(?<=[;:,])\s+"),
    re.compile(r"\s+"),
)
Count = Callable[[str], int]


@dataclass(frozen=True)
class Chunk:
    """A passage.

    Args:
        text: as it stands in the document.
        locator: where that is.
        heading: the titles above it.
        kind: prose, code or row.
        tokens: of what is embedded.
        truncated: it is longer than the embedder's window and could not be cut.
    """

    text: str
    locator: str
    heading: tuple[str, ...]
    kind: str
    tokens: int
    truncated: bool = False

    @property
    def embedded(self) -> str:
        """What is embedded and searched: the headings, then the passage."""
        return f"{' › '.join(self.heading)}\n{self.text}" if self.heading else self.text

    @property
    def digest(self) -> str:
        """The hash of what is embedded."""
        return hashlib.sha256(self.embedded.encode("utf-8", "surrogatepass")).hexdigest()


def chunks_of(
    sections: Sequence[Section], count: Count, *, tokens: int = TOKENS, window: int | None = None
) -> list[Chunk]:
    """The chunks of a document.

    Args:
        sections: of the document; a chunk lies within one.
        count: tokens of a text, by the embedder's own tokenizer.
        tokens: of a chunk, headings included, at most; a little more where a sentence ends.
        window: the embedder's; what cannot be cut below it is marked.
    """
    found: list[Chunk] = []
    for section in _joined(sections, count, tokens):
        heading = _short(section.heading)
        above = count(" › ".join(heading)) if heading else 0
        room = max(tokens // 2, tokens - above)
        for text, offset in _pieces(section.text, count, room):
            total = count(text) + above
            found.append(
                Chunk(
                    text,
                    _locator(section, text, offset),
                    heading,
                    section.kind,
                    total,
                    window is not None and total > window,
                )
            )
    return found


def _joined(sections: Sequence[Section], count: Count, tokens: int) -> list[Section]:
    """Sections that follow each other under one heading as one, as long as they fit a chunk together.

    A line before an example and the example belong together; rows of tables and pages stay apart.
    """
    found: list[Section] = []
    sizes: list[int] = []
    for section in sections:
        size = count(section.text) if section.line and section.kind != "row" else tokens
        last = found[-1] if found else None
        if (
            last is not None
            and last.line
            and section.line
            and (last.heading, last.locator) == (section.heading, section.locator)
            and sizes[-1] + size + count(" › ".join(section.heading)) <= tokens
        ):
            gap = section.line - last.line - last.text.count("\n")
            text = f"{last.text}{chr(10) * max(1, gap)}{section.text}"
            found[-1] = replace(last, text=text, kind="prose")
            sizes[-1] += size
        else:
            found.append(section)
            sizes.append(size)
    return found


def _pieces(text: str, count: Count, room: int) -> list[tuple[str, int]]:
    """Pieces of at most `room` tokens with where each begins, packed from what lies between pauses."""
    atoms = _atoms(text, 0, count, room, 0)
    pieces: list[tuple[int, int]] = []
    used = 0
    for begin, end, size in atoms:
        if pieces and used + size <= room:
            pieces[-1] = (pieces[-1][0], end)
            used += size
        else:
            pieces.append((begin, end))
            used = size
    made = []
    for begin, end in _evened(pieces, text, count, room):
        shown = text[begin:end].strip("\n")
        if shown.strip():
            made.append((shown, begin + len(text[begin:end]) - len(text[begin:end].lstrip("\n"))))
    return made


def _evened(
    pieces: list[tuple[int, int]], text: str, count: Count, room: int
) -> list[tuple[int, int]]:
    """The same without a last piece of a few words, if the one before has room for it."""
    if len(pieces) < 2:
        return pieces
    last = text[pieces[-1][0] : pieces[-1][1]]
    if count(last) > room // 8:
        return pieces
    return [*pieces[:-2], (pieces[-2][0], pieces[-1][1])]


def _atoms(
    text: str, offset: int, count: Count, room: int, level: int
) -> list[tuple[int, int, int]]:
    """Parts of at most `room` tokens between pauses of one kind, finer ones where they are too long."""
    size = count(text)
    if size <= room or level == len(_PAUSES):
        if size <= room or len(text) <= 1:
            return [(offset, offset + len(text), size)]
        return _cut(text, offset, count, room)
    found: list[tuple[int, int, int]] = []
    begin = 0
    for pause in _PAUSES[level].finditer(text):
        if pause.end() > begin:
            found += _atoms(text[begin : pause.end()], offset + begin, count, room, level + 1)
            begin = pause.end()
    if begin < len(text):
        rest = text[begin:]
        found += _atoms(rest, offset + begin, count, room, level + 1)
    return found


def _cut(text: str, offset: int, count: Count, room: int) -> list[tuple[int, int, int]]:
    """A run of letters without a pause, in halves until they fit."""
    middle = len(text) // 2
    parts = (text[:middle], offset), (text[middle:], offset + middle)
    found: list[tuple[int, int, int]] = []
    for part, begin in parts:
        size = count(part)
        if size <= room or len(part) <= 1:
            found.append((begin, begin + len(part), size))
        else:
            found += _cut(part, begin, count, room)
    return found


def _locator(section: Section, text: str, offset: int) -> str:
    if not section.line:
        return section.locator
    first = section.line + section.text[:offset].count("\n")
    last = first + text.count("\n")
    lines = f"line {first}" if first == last else f"lines {first}-{last}"
    return f"{section.locator}, {lines}" if section.locator else lines


def _short(heading: tuple[str, ...]) -> tuple[str, ...]:
    """Headings as they are embedded: the three innermost, none of them endless."""
    return tuple(title[:120] for title in heading[-3:])
