"""Characters that a terminal or a page obeys instead of showing them, made visible.

Escape sequences colour, hide and overwrite text, and some terminals let them set the clipboard; marks of direction
turn the text round that follows. What a model or a document says is data, so both are shown as characters.
"""

from __future__ import annotations

import re

# Tab and line feed stay. Of marks of direction those that embed, override and isolate are shown; the two that only
# say the direction of their place stay.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PICTURES, _DELETE = 0x2400, 0x7F


def visible(text: str) -> str:
    """The text with such characters as their signs, for instance ␛ for the beginning of an escape sequence."""
    if text.isascii() and text.isprintable():
        return text
    return _OBEYED.sub(_sign, text.replace("\r\n", "\n"))


def _sign(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == _DELETE:
        return "␡"
    return "\ufffd" if code < 0x2000 or 0xD800 <= code < 0xE000 else f"⟨U+{code:04X}⟩"
