"""Texts that are about something else than what the policy's examples are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About, Embed, Finding, UndecidedError
from llmops_jupyter.guard.masking import masked
from llmops_jupyter.records import Place

FEWEST = 3


@dataclass
class OffTopic:
    """Scores how far a text is from the nearest example: 1 minus the cosine of their vectors, at most 1.

    Where the line is differs by embedding model and subject, so the threshold wants calibration.
    """

    examples: tuple[str, ...]
    name: str = "off-topic"
    places: tuple[Place, ...] = ("input", "output")
    threshold: float = 0.75
    _known: tuple[Embed, Any] | None = field(default=None, repr=False, compare=False)

    def find(self, text: str, about: About) -> Finding:
        """The distance from the examples."""
        import numpy as np

        if about.embed is None:
            raise UndecidedError("there is no embedding model; add one with %model add")
        if not text.strip():
            return Finding(0.0, False, "there is no text")
        if self._known is None or self._known[0] is not about.embed:
            self._known = about.embed, np.asarray(about.embed(self.examples), np.float64)
        vector = np.asarray(about.embed([text]), np.float64)[0]
        cosines = self._known[1] @ vector
        if not np.all(np.isfinite(cosines)):
            raise UndecidedError("the embedding model gave no numbers")
        best = int(np.argmax(cosines))
        score = float(np.clip(1.0 - cosines[best], 0.0, 1.0))
        return Finding(score, False, f"the nearest example is {masked(self.examples[best])!r:.80}")


def make(examples: Sequence[str] = ()) -> OffTopic:
    """The check 'off-topic'.

    Raises:
        GuardError: there are too few examples.
    """
    if len(examples) < FEWEST or not all(e.strip() for e in examples):
        raise GuardError(
            f"The check off-topic needs {FEWEST} examples or more of what people may ask: examples: [...], a sentence each."
        )
    return OffTopic(tuple(examples))
