"""The canary: a marker in the system message that nobody but the model sees, looked for in what it answers.

It is made from the system message and the policy, so that a recorded run has it again, rows of a data set share their
beginning, and nobody can tell it who does not have the system message already.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from llmops_jupyter.guard import decoding
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.plain import plain
from llmops_jupyter.records import Message, Place

LENGTH = 14
# The number or the sign before an entry of a list.
_NUMBER = re.compile(
    r"(?m)^[ \t>]{0,20}[(\[]?[0-9]{1,3}[.):\]-]+[ \t]*|(?<=[\s,;])[(\[]?[0-9]{1,2}[.):\]][ \t]"
)


@dataclass(frozen=True)
class Canary:
    """Finds the marker: as it is, in other cases, spaced, reversed, in rot13, hex, decimal codes, base64, and encodings of these."""

    name: str = "canary"
    places: tuple[Place, ...] = ("output",)

    def find(self, text: str, about: About) -> Finding:
        """Yes where the text has the marker of the system message."""
        if not about.canary:
            return Finding(None, False, "the run has no system message, so there is no marker")
        for read in _readings(text):
            for how, needle in _needles(about.canary):
                if needle in read:
                    return Finding(None, True, f"the marker of the system message is in it ({how})")
        return Finding(None, False, "the marker of the system message is not in it")


def make() -> Canary:
    """The check 'canary'."""
    return Canary()


def canary_of(system: str, salt: str) -> str:
    """The marker of a system message, '' without one; `salt` is what the policy is."""
    if not system.strip():
        return ""
    digest = hashlib.sha256(f"{salt}\n{system}".encode("utf-8", "backslashreplace")).digest()
    return base64.b32encode(digest).decode().lower()[:LENGTH]


def with_canary(messages: tuple[Message, ...], canary: str) -> tuple[Message, ...]:
    """The messages with the marker at the end of the first system message."""
    found = list(messages)
    for place, message in enumerate(found):
        if message.role == "system":
            found[place] = replace(message, content=f"{message.content}\n<!-- {canary} -->")
            break
    return tuple(found)


def _readings(text: str) -> Iterator[str]:
    """The text squeezed, without the numbers of its lines, and what its pieces in encodings hold."""
    read = plain(text).text
    yield _squeezed(read)
    bare = _NUMBER.sub("", read)
    if bare != read:
        yield _squeezed(bare)
    for piece in decoding.pieces(read):
        yield _squeezed(piece)


def _squeezed(text: str) -> str:
    """Letters and digits alone, in one case and without marks."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in plain if c.isascii() and c.isalnum())


@lru_cache(maxsize=64)
def _needles(canary: str) -> tuple[tuple[str, str], ...]:
    """What the marker becomes in each form, squeezed."""
    found = [
        ("as it is", canary),
        ("reversed", canary[::-1]),
        ("rot13", codecs.encode(canary, "rot13")),
    ]
    for form in (canary, canary.upper()):
        data = form.encode()
        found.append(("hex", data.hex()))
        found.append(("decimal codes", "".join(str(b) for b in data)))
        found.append(("binary", "".join(f"{b:08b}" for b in data)))
        found.append(("base32", base64.b32encode(data).decode().rstrip("=").casefold()[:-2]))
        for shift in range(3):
            # Of a longer text the marker may begin at any of three places of base64's groups.
            coded = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
            inner = coded[-(-shift * 8 // 6) :][: (len(data) * 8 - 10) // 6]
            found.append(("base64", "".join(c for c in inner.casefold() if c.isalnum())))
    return tuple(found)
