"""What a check of a guard is: what it may know about a text, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmops_jupyter.records import Message, Place


@dataclass(frozen=True)
class About:
    """What a check may know besides the text. All of it is optional but the place."""

    place: Place = "input"
    system: str = ""
    messages: Sequence[Message] = ()
    canary: str = ""
    schema: Mapping[str, Any] | None = None
    links: Sequence[str] = ()
    embed: Callable[[Sequence[str]], Any] | None = None
    judge: Callable[[str], float] | None = None


@dataclass(frozen=True)
class Finding:
    """What one check found in one text.

    Args:
        score: how sure the check is, from 0 to 1; None where it says yes or no.
        hit: yes or no, for checks without a score; with a score the policy's threshold decides.
        reason: one sentence for people.
        evidence: the part of the text that it rests on.
        replaced: the text without what was found, for the action 'modify'.
    """

    score: float | None
    hit: bool
    reason: str
    evidence: str = ""
    replaced: str | None = None


class Check(Protocol):
    """One question that is asked of a text."""

    name: str
    places: tuple[Place, ...]

    def find(self, text: str, about: About) -> Finding:
        """What the check says of a text."""
        ...
