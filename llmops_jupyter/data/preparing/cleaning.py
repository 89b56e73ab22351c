"""Repairing texts: broken encodings, invisible characters, stray spaces; code blocks are left alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

Repair = Callable[[str], str]

ENCODING, INVISIBLE, FORM, SPACES = "encoding", "invisible characters", "Unicode form", "spaces"

_FENCED = re.compile(
    r"(^[ \t]*(?:```|~~~).*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z))", re.MULTILINE | re.DOTALL
)
# Controls other than tab and line feed; zero-width spaces, soft hyphens, marks of direction that turn text around.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]"
)
# Joiners belong to scripts and to emoji: between Latin letters they are hidden text. Tags belong to flags.
_JOINERS = re.compile("(?<=[\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\x7f])")
_TAGS = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]+")
_ODD_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f]")
_LINE_ENDS = re.compile("\r\n?|\u2028|\u0085")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{4,}")


def encoding_repair() -> Repair | None:
    """Repair, by ftfy, of texts that were decoded wrongly; None where ftfy is not installed."""
    try:
        import ftfy
    except ImportError:
        return None
    # Only what is broken: quotes, ligatures, widths and HTML entities may be meant.
    config = ftfy.TextFixerConfig(
        unescape_html=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
    )

    def repair(text: str) -> str:
        return text if text.isascii() else ftfy.fix_text(text, config)

    return repair


def clean(text: str, repair: Repair | None = None) -> tuple[str, tuple[str, ...]]:
    """A text as it should have been, and the kinds of changes.

    Between the fences of a code block nothing changes. Elsewhere: the encoding is repaired, Unicode is
    brought to form C, invisible characters go, odd spaces become plain, blanks at the ends of lines go, more
    than two blank lines become two. Indentation and line breaks stay.
    """
    kinds: dict[str, None] = {}
    parts = _FENCED.split(_LINE_ENDS.sub("\n", text))
    for place in range(0, len(parts), 2):
        parts[place] = _clean_prose(parts[place], repair, kinds)
    made = "".join(parts)
    trimmed = made.strip("\n").rstrip() if made.strip() else ""
    if trimmed != made or _LINE_ENDS.search(text):
        kinds[SPACES] = None
    return trimmed, tuple(kinds)


def _clean_prose(text: str, repair: Repair | None, kinds: dict[str, None]) -> str:
    steps: tuple[tuple[str, Repair], ...] = (
        (ENCODING, repair or _same),
        (INVISIBLE, _without_invisible),
        (FORM, lambda t: unicodedata.normalize("NFC", t)),
        (SPACES, _spaced),
    )
    for kind, step in steps:
        made = step(text)
        if made != text:
            kinds[kind] = None
        text = made
    return text


def _same(text: str) -> str:
    return text


def _without_invisible(text: str) -> str:
    return _TAGS.sub("", _JOINERS.sub("", _INVISIBLE.sub("", text)))


def _spaced(text: str) -> str:
    return _BLANK_LINES.sub("\n\n\n", _TRAILING.sub("", _ODD_SPACES.sub(" ", text)))
