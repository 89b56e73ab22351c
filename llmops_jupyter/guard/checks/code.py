"""Where a text shows code: in fences and between backticks, as far as all readers of Markdown agree on it.

What one renderer takes for code and another for prose counts as prose: behind raw HTML that may go on, behind a backtick that
is closed on another line, in a list that ends before the fence does, across the cells of a table. Sources: CommonMark 0.31,
sections 4.5, 4.6 and 6.1; the tables of GitHub's extension.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_FENCE = re.compile(r"( {0,12})(`{3,}|~{3,})[ \t]*([\w+#.-]{0,30})[ \t]*\r?")
_OPENS = re.compile(r" {0,12}(?:```|~~~)")
_TICKS = re.compile(r"`+")
_HTML = re.compile(r"<[A-Za-z/!?]")
# HTML that an empty line does not end.
_LONG = re.compile(r"(?i)<(?:[!?]|(?:script|pre|style|textarea)\b)")
# What a notebook draws.
_DRAWN = ("mermaid",)


def spans(text: str) -> list[Span]:
    """The parts of a text that are code, in order, without their signs; linear in its length."""
    if "`" not in text and "~~~" not in text:
        return []
    found: list[Span] = []
    lines = list(_lines(text))
    paragraph: list[Span] = []
    place = 0
    while place < len(lines):
        begin, end = lines[place]
        if _OPENS.match(text, begin, end):
            last = _closed(text, lines, place, is_first=not paragraph)
            if last is None or _has_html(text, paragraph):
                return found
            found += _inline(text, paragraph)
            paragraph = []
            found.append((end, lines[last][0]))
            place = last + 1
            continue
        if text[begin:end].strip():
            paragraph.append((begin, end))
        else:
            if _may_go_on(text, paragraph):
                return found
            found += _inline(text, paragraph)
            paragraph = []
        place += 1
    return found + _inline(text, paragraph)


def _lines(text: str) -> Iterator[Span]:
    at = 0
    while at <= len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield at, end
        at = end + 1


def _closed(text: str, lines: list[Span], place: int, *, is_first: bool) -> int | None:
    """The line that closes the fence which begins on a line; None where that is not sure."""
    opened = _FENCE.fullmatch(text, *lines[place])
    if opened is None or opened[3].casefold() in _DRAWN or (len(opened[1]) > 3 and not is_first):
        return None
    indent = opened[1]
    closing = re.compile(rf"{indent} {{0,3}}{re.escape(opened[2])}{opened[2][0]}*[ \t]*\r?")
    for other in range(place + 1, len(lines)):
        begin, end = lines[other]
        if closing.fullmatch(text, begin, end):
            return other
        if not text.startswith(indent, begin, end) and text[begin:end].strip():
            return None
    return None


def _has_html(text: str, paragraph: list[Span]) -> bool:
    return bool(paragraph) and bool(_HTML.search(text, paragraph[0][0], paragraph[-1][1]))


def _may_go_on(text: str, paragraph: list[Span]) -> bool:
    """Whether HTML of a paragraph may not end with it."""
    if not paragraph:
        return False
    code = _inline(text, paragraph)
    found = _LONG.finditer(text, paragraph[0][0], paragraph[-1][1])
    return any(not any(a <= m.start() < b for a, b in code) for m in found)


def _inline(text: str, paragraph: list[Span]) -> list[Span]:
    """Code between backticks; none if a line of the paragraph does not close what it opens, or has raw HTML."""
    found: list[Span] = []
    for begin, end in paragraph:
        made = _of_line(text, begin, end)
        if made is None:
            return []
        found += made
    return found


def _of_line(text: str, begin: int, end: int) -> list[Span] | None:
    """The code of a line; None if a backtick is left over, or if it may be something else."""
    runs = [m.span() for m in _TICKS.finditer(text, begin, end)]
    of_length: dict[int, list[int]] = {}
    for number in range(len(runs) - 1, -1, -1):
        of_length.setdefault(runs[number][1] - runs[number][0], []).append(number)
    found: list[Span] = []
    at, number = begin, 0
    while number < len(runs):
        first, last = runs[number]
        same = of_length[last - first]
        while same and same[-1] <= number:
            same.pop()
        if not same or text[first - 1 : first] == "\\" or _HTML.search(text, at, first):
            return None
        closing = runs[same[-1]]
        if "|" in text[last : closing[0]]:
            return None
        found.append((last, closing[0]))
        at, number = closing[1], same[-1] + 1
    return None if _HTML.search(text, at, end) else found
