"""Text that people do not see and models read: zero-width characters, direction overrides, tags, variation selectors.

What writing needs is left alone: joiners within emoji and in scripts whose letters join (Arabic, Indic and others),
direction marks beside right-to-left text, one variation selector behind a sign that takes one. Sources: Unicode
Standard Annex 9 (bidirectional controls), Technical Report 36 (security), Technical Standard 51 (emoji sequences).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.masking import masked
from llmops_jupyter.records import Place

_TAGS = "\U000e0000-\U000e007f"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_JOINERS = "\u200b\u200c\u200d\u2060\ufeff"
_DIRECTIONS = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_OTHERS = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u2061-\u2065\u206a-\u206f\u3164\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\x00-\x08\x0e-\x1b\x7f"
)
# A command to a terminal, as pasted logs have them.
_COMMAND = r"\x1b\[[0-9;:?]{0,40}[ -/]{0,2}[@-~]"
_HIDDEN = re.compile(
    f"(?P<commands>{_COMMAND})|(?P<tags>[{_TAGS}]+)|(?P<selectors>[{_SELECTORS}]+)|(?P<joiners>[{_JOINERS}]+)"
    f"|(?P<directions>[{_DIRECTIONS}])|(?P<others>[{_OTHERS}]+)"
)
_COLOURS = re.compile(r"\x1b\[([0-9;]{0,40})m")
# The flags that are written with tags: England, Scotland and Wales.
_FLAGS = ("gbeng", "gbsct", "gbwls")
_BLACK_FLAG, _CANCEL = "\U0001f3f4", "\U000e007f"
_OVERRIDES = "\u202d\u202e"
_SPACED = re.compile(r"(?:\w\u00ad){3}")
# Scripts in which a zero-width space is a place where a line may end.
_WITHOUT_SPACES = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "CJK", "HIRAGANA", "KATAKANA")
# Scripts whose letters no joiner changes.
_NOT_JOINING = ("LATIN", "CYRILLIC", "GREEK", "HEBREW", "CJK", "HANGUL", "HIRAGANA", "KATAKANA")
# More of them in a row than anyone types.
_RUN = 3
NAMES = {
    "tags": "tag characters",
    "selectors": "variation selectors",
    "joiners": "zero-width characters",
    "directions": "direction controls",
    "others": "invisible characters",
    "commands": "commands to a terminal",
}


@dataclass(frozen=True)
class InvisibleText:
    """Finds text that is not seen; what it modifies loses these characters only."""

    name: str = "invisible-text"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where there are characters that hide something."""
        del about
        spans: list[tuple[int, int, str]] = []
        kinds: dict[str, int] = {}
        hidden = ""
        right_to_left: bool | None = None
        for match in _HIDDEN.finditer(text):
            kind = match.lastgroup or "others"
            if kind == "directions" and right_to_left is None:
                right_to_left = any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)
            if _is_meant(text, match, kind, right_to_left=bool(right_to_left)):
                continue
            spans.append((match.start(), match.end(), ""))
            kinds[kind] = kinds.get(kind, 0) + match.end() - match.start()
            if len(hidden) < 400:
                hidden += _decoded(match[0], kind)
        if not spans:
            return Finding(None, False, "no hidden characters")
        said = ", ".join(f"{n} {NAMES[k]}" for k, n in kinds.items())
        reason = f"there are {said}" + (" that spell a text" if hidden.strip() else "")
        return Finding(
            None, True, reason, masked(hidden) or _place(text, spans), _without(text, spans)
        )


def make() -> InvisibleText:
    """The check 'invisible-text'."""
    return InvisibleText()


def _is_meant(text: str, match: re.Match[str], kind: str, *, right_to_left: bool) -> bool:
    """Whether characters are part of how something is written."""
    begin, end = match.span()
    before, after = text[begin - 1 : begin], text[end : end + 1]
    run = match[0]
    if kind == "commands":
        return _is_colour(run)
    if kind == "tags":
        return before == _BLACK_FLAG and run[-1] == _CANCEL and _of_tags(run[:-1]) in _FLAGS
    if kind == "selectors":
        return len(run) == 1 and _takes_selector(before, run)
    if kind == "joiners":
        return _is_joiner(before, run, after, begin)
    if kind == "directions":
        return right_to_left and run not in _OVERRIDES
    return _is_other(text, begin, run, before, after)


def _takes_selector(before: str, selector: str) -> bool:
    """Whether a sign has variants that this selector names."""
    if not before:
        return False
    category = unicodedata.category(before)
    if selector in "\ufe0e\ufe0f":
        return category[0] in "SP" or before in "0123456789\u2139"
    return category in ("Lo", "Sm", "Mn", "Nd") and not before.isascii()


def _is_colour(run: str) -> bool:
    """Whether a command to a terminal sets how letters look, and does not hide them: concealed, or in the colour of what is behind."""
    match = _COLOURS.fullmatch(run)
    if match is None:
        return False
    codes = [int(code or 0) for code in match[1].split(";")]
    plain: list[int] = []
    while codes:
        code = codes.pop(0)
        if code in (38, 48):  # a colour of many: its kind and its numbers follow
            codes = codes[2 if codes[:1] == [5] else 4 :]
        plain.append(code)
    front, back = ({code % 10 for code in plain if code // 10 == tens} for tens in (3, 4))
    return 8 not in plain and not (front & back) - {8, 9}


def _is_joiner(before: str, run: str, after: str, begin: int) -> bool:
    if run == "\ufeff" and begin == 0:  # the mark of a file's encoding
        return True
    if len(run) >= _RUN or not before or not after:
        return False
    if set(run) == {"\u200d"} and _is_emoji(before) and _is_emoji(after):
        return len(run) == 1
    if set(run) <= {"\u200c", "\u200d"}:
        return _joins(before) and (_joins(after) or not after.isalnum())
    if set(run) == {"\u200b"}:
        return _script(before) in _WITHOUT_SPACES or _script(after) in _WITHOUT_SPACES
    return False


def _is_other(text: str, begin: int, run: str, before: str, after: str) -> bool:
    if set(run) == {"\u00ad"}:  # hyphens at the ends of syllables, not between all letters
        near = text[max(0, begin - 6) : begin + 7]
        return len(run) == 1 and not _SPACED.search(near)
    if set(run) <= {"\u115f", "\u1160"}:
        return "HANGUL" in (_script(before), _script(after))
    if run == "\u180e":  # Mongolian's vowel separator
        return _script(before) == "MONGOLIAN" and _script(after) == "MONGOLIAN"
    if run == "\u034f":
        return bool(before) and unicodedata.category(before) == "Mn"
    return run in "\u17b4\u17b5" and _script(before) == "KHMER"


def _is_emoji(char: str) -> bool:
    return (
        unicodedata.category(char) in ("So", "Sk", "Sm") or char in "\ufe0f\u2640\u2642\U000e007f"
    )


def _joins(char: str) -> bool:
    """Whether a character belongs to a script whose letters change where they meet."""
    return unicodedata.category(char) in ("Lo", "Mn", "Mc") and _script(char) not in _NOT_JOINING


def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0] if char else ""


def _of_tags(run: str) -> str:
    return "".join(chr(ord(c) - 0xE0000) for c in run)


def _decoded(run: str, kind: str) -> str:
    """What characters spell, where they stand for letters or bytes."""
    if kind == "tags":
        return "".join(c for c in _of_tags(run) if c.isprintable())
    if kind == "selectors" and len(run) > 1:
        codes = (ord(c) for c in run)
        data = bytes(c - 0xFE00 if c < 0xFF00 else c - 0xE0100 + 16 for c in codes)
        shown = data.decode("utf-8", "replace")
        return shown if shown.isprintable() and "\ufffd" not in shown else ""
    return ""


def _place(text: str, spans: list[tuple[int, int, str]]) -> str:
    """The visible words around the first finding."""
    begin, end, _ = spans[0]
    return masked(f"{text[max(0, begin - 30) : begin]}·{text[end : end + 30]}")


def _without(text: str, spans: list[tuple[int, int, str]]) -> str:
    parts, at = [], 0
    for begin, end, _ in spans:
        parts.append(text[at:begin])
        at = end
    return "".join([*parts, text[at:]])
