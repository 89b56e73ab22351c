"""Texts in disguise: spaced, reversed, encoded, in letters that look alike. What a reader would make of them."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator

# Letters of the Cyrillic and Greek alphabets that look like Latin ones.
LOOKALIKES = dict(zip("aceijopsxyABEHKMOPTXv", "асеіјорѕхуАВЕНКМОРТХν", strict=True))
LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}
# Characters that take no room: zero-width ones, marks of direction, tags, soft hyphens.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)
_PLAIN = str.maketrans({other: latin for latin, other in LOOKALIKES.items()})
_FROM_LEET = str.maketrans({digit: letter for letter, digit in LEET.items()})
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:,-]?){6,}")
MOST = 200_000


def visible(text: str) -> str:
    """A text without characters that are not seen, compatible forms and letters that look alike made plain."""
    shown = unicodedata.normalize("NFKC", INVISIBLE.sub("", text[:MOST]))
    return shown.translate(_PLAIN)


def squeezed(text: str) -> str:
    """Only the letters and digits of a text, small."""
    return "".join(c for c in visible(text).casefold() if c.isalnum())


def from_leet(text: str) -> str:
    """Letters for the digits that stand for them."""
    return text.translate(_FROM_LEET)


def readings(text: str) -> Iterator[str]:
    """A text as it stands, reversed, by rot13, and what runs of base64 and hex in it say."""
    shown = visible(text)
    yield shown
    yield shown[::-1]
    yield codecs.encode(shown, "rot13")
    for found in _BASE64.finditer(shown):
        run = found[0].rstrip("=").replace("-", "+").replace("_", "/")
        yield from _decoded(run)
    for found in _HEX.finditer(shown):
        digits = re.sub(r"[^0-9A-Fa-f]", "", found[0])
        try:
            yield bytes.fromhex(digits[: len(digits) // 2 * 2]).decode()
        except ValueError:
            continue


def _decoded(run: str) -> Iterator[str]:
    """What a run of base64 says, if it is text; one character too many is no reason to miss it."""
    usable = run[:-1] if len(run) % 4 == 1 else run
    try:
        yield base64.b64decode(usable + "=" * (-len(usable) % 4)).decode()
    except (binascii.Error, ValueError):
        return
