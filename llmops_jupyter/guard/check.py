"""What a check of a guard is: what it may know about a text, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmops_jupyter.records import Message, Place

# Vectors of unit length, one for each text.
Embed = Callable[[Sequence[str]], Any]


class Judge(Protocol):
    """A model that answers a question about a text with yes or no; the workspace plugs one in."""

    def __call__(
        self, question: str, examples: Sequence[tuple[str, str]], text: str, model: str | None
    ) -> tuple[float | None, str]:
        """How likely 'yes' is, None if the model cannot tell, and why.

        `examples` are texts with the right answer, 'yes' or 'no', by which the model is checked before it may judge.
        """
        ...


@dataclass(frozen=True)
class About:
    """What a check may know besides the text. All of it is optional but the place.

    Args:
        place: which text it is.
        system: what the system messages of the run say.
        messages: what was said to the model in this run, but for the system messages.
        canary: the marker that was put into the system message; '' if none was.
        schema: the JSON schema that the answer is to satisfy.
        links: hosts that links may lead to, beside those of the policy.
        embed: vectors of texts, where there is an embedding model.
        judge: a model that decides by a question, where one is plugged in.
    """

    place: Place = "input"
    system: str = ""
    messages: Sequence[Message] = ()
    canary: str = ""
    schema: Mapping[str, Any] | None = None
    links: Sequence[str] = ()
    embed: Embed | None = None
    judge: Judge | None = None


@dataclass(frozen=True)
class Finding:
    """What one check found in one text.

    Args:
        score: how sure the check is, from 0 to 1; None where it says yes or no.
        hit: yes or no, for checks without a score; with a score the policy's threshold decides.
        reason: one sentence for people.
        evidence: the part of the text that it rests on.
        replaced: the text without what was found, for the action 'modify'.
        unread: characters that were not looked at; where nothing was found in the others, `on_error` of the policy decides.
    """

    score: float | None
    hit: bool
    reason: str
    evidence: str = ""
    replaced: str | None = None
    unread: int = 0


class Check(Protocol):
    """One question that is asked of a text."""

    name: str
    places: tuple[Place, ...]

    def find(self, text: str, about: About) -> Finding:
        """What the check says of a text."""
        ...


class UndecidedError(Exception):
    """A check cannot say anything of a text, and why; the pipeline makes a warning of it."""
