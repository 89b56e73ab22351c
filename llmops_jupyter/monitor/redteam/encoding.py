"""Forms into which an attack's words are put, so that a filter of words does not see them."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable

from llmops_jupyter.evaluation.metrics.disguises import LEET, LOOKALIKES

ZERO_WIDTH = "\u200b"


def _leet(text: str) -> str:
    return "".join(LEET.get(c.casefold(), c) for c in text)


def _lookalikes(text: str) -> str:
    return "".join(LOOKALIKES.get(c, c) for c in text)


def _zero_width(text: str) -> str:
    return ZERO_WIDTH.join(text)


def _spaced(text: str) -> str:
    return "   ".join(" ".join(word) for word in text.split())


def _tags(text: str) -> str:
    """In the tag characters of Unicode, which no screen shows."""
    return "".join(chr(0xE0000 + ord(c)) if " " <= c <= "~" else c for c in text)


def _half(text: str, *, second: bool) -> str:
    words = text.split()
    middle = (len(words) + 1) // 2
    return " ".join(words[middle:] if second else words[:middle])


FORMS: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(" "),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "leet": _leet,
    "lookalikes": _lookalikes,
    "zero-width": _zero_width,
    "spaced": _spaced,
    "tags": _tags,
    "upper": str.upper,
    "first-half": lambda text: _half(text, second=False),
    "second-half": lambda text: _half(text, second=True),
}
