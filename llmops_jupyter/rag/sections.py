"""What a loader makes of a document: pieces of text that know where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["prose", "code", "row"]


@dataclass(frozen=True)
class Section:
    """A piece of a document that a chunk does not cross.

    Args:
        text: as it stands there.
        locator: where that is, for people: ``page 3``, ``cell 4f2a``, ``lines 10-20``, ``row 7``.
        heading: the titles above it, the outermost first.
        kind: prose, code, or a row of a table.
        line: of its beginning, from 1; 0 where there are no lines.
        metadata: what can be filtered by.
    """

    text: str
    locator: str = ""
    heading: tuple[str, ...] = ()
    kind: Kind = "prose"
    line: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A document as it was read: `digest` is that of its bytes, or of its text where there is no file."""

    source: str
    digest: str
    sections: tuple[Section, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
