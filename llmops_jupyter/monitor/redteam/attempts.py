"""What came of single attacks and harmless inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


def digest_of(*texts: str) -> str:
    """By which the same texts are known again."""
    return hashlib.sha256("\x00".join(texts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Attempt:
    """An attack with what came of it.

    Args:
        id: family, template, goal and number.
        family: its name.
        goal: what it asked for.
        text: what was sent.
        answer: what came back; '' if nothing did.
        success: it was obeyed.
        evidence: the part of the answer, or the call, that shows it.
        denied: a guard blocked it.
        error: why there is no answer; such an attempt counts neither way.
        trace_id: of the answer.
        turns: messages that the attack has.
        digest: of all of its messages, by which the same attack is known in another run.
    """

    id: str
    family: str
    goal: str
    text: str
    answer: str
    trace_id: str = ""
    success: bool = False
    evidence: str = ""
    denied: bool = False
    error: str = ""
    turns: int = 1
    digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Attempt:
        """The attempt that `as_dict` took apart."""
        return cls(**value)


@dataclass(frozen=True)
class HarmlessAttempt:
    """A harmless input with what came of it; `why` says why the answer is not useful.

    `tripped` names the goals whose checks hold for the answer, though nobody attacked.
    """

    id: str
    text: str
    answer: str
    useful: bool
    why: str = ""
    denied: bool = False
    error: str = ""
    trace_id: str = ""
    digest: str = ""
    tripped: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HarmlessAttempt:
        """The attempt that `as_dict` took apart."""
        return cls(**{**value, "tripped": tuple(value["tripped"])})
