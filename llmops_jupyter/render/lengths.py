"""Texts of which only so much is sent to a browser."""

from __future__ import annotations


def beginning(text: str, most: int, *, count: bool = False) -> str:
    """The first `most` characters, without halves of characters, which no message can hold.

    An ellipsis says that more follows; with `count` also how long the whole is.
    """
    whole = text.encode("utf-8", "replace").decode()
    if len(whole) <= most:
        return whole
    return f"{whole[:most]}…" + (f" ({len(whole):,} characters)" if count else "")
