"""Passages of documents, and how far they support an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Hit:
    """A passage found by a search: `source` is the file's path or the row's id."""

    text: str
    source: str
    locator: str
    score: float
    document_id: str
    chunk_id: str


@dataclass(frozen=True)
class Citation:
    """Words of a passage, as they stand there; `number` is the passage's in the prompt, counted from 1."""

    number: int
    quote: str
    source: str
    locator: str
    chunk_id: str = ""

    @property
    def place(self) -> str:
        """Source and where in it, for people."""
        return f"{self.source}, {self.locator}" if self.locator else self.source


Support = Literal["supported", "unsupported", "contradicted", "no claim"]


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer with what the passages say of it.

    Args:
        text: the sentence.
        verdict: what was found; see the signals before you rely on it.
        citations: the words of the passages that come nearest, the best first.
        signals: what the verdict was made from, by name.
        why: in words.
    """

    text: str
    verdict: Support
    citations: tuple[Citation, ...] = ()
    signals: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Claim:
        """The claim that `dataclasses.asdict` took apart."""
        cited = tuple(Citation(**c) for c in value["citations"])
        return cls(**{**value, "citations": cited})


@dataclass(frozen=True)
class Grounding:
    """Which documents an answer was made from, and how far they support it.

    Args:
        index: the index, with the fingerprint of its content at that time.
        query: what was searched for; for a follow-up question not what was asked.
        answered: the documents support at least one sentence of the answer.
        claims: the sentences of the answer.
        draft: what the model wrote, where the documents did not support any of it and the answer says so.
        why: why there is no answer.
        nearest: where there is no answer, the passages' sentences that come nearest to the question.
    """

    index: str
    fingerprint: str
    query: str
    answered: bool
    claims: tuple[Claim, ...] = ()
    draft: str = ""
    why: str = ""
    nearest: tuple[Citation, ...] = ()

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The best citation of each supported sentence, each once."""
        found = [c.citations[0] for c in self.claims if c.verdict == "supported" and c.citations]
        return tuple(dict.fromkeys(found))

    def share(self) -> float | None:
        """The share of the sentences that make claims which the passages support; None if there are none."""
        made = [c for c in self.claims if c.verdict != "no claim"]
        return sum(c.verdict == "supported" for c in made) / len(made) if made else None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Grounding:
        """The grounding that `dataclasses.asdict` took apart."""
        claims = tuple(Claim.from_dict(c) for c in value["claims"])
        nearest = tuple(Citation(**c) for c in value.get("nearest", ()))
        return cls(**{**value, "claims": claims, "nearest": nearest})
