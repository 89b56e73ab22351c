"""Attempts to steer the model: prompt injection and jailbreaks in what users write and in what the model is given to read.

Two models: one sees orders that go against the rules of the conversation, wherever they stand; the other sees requests to an assistant, which
are what a user writes but do not belong into a document. The second is asked of context alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.guard import classifier, normalizing
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.pieces import Pieces, pieces, signs_of
from llmops_jupyter.guard.signs import digest, signs
from llmops_jupyter.records import Place

if TYPE_CHECKING:
    import numpy as np

SHOWN = 300


@dataclass(frozen=True)
class Scored:
    """A text's score from 0 to 1, the sentence that it rests on most, the view that has it, and which model saw it."""

    score: float
    sentence: str = ""
    view: str = ""
    model: str = ""


class Injection:
    """The check 'injection': a score from 0 to 1 for each text, the highest of its sentences, windows and whole."""

    name = "injection"
    places: tuple[Place, ...] = ("input", "context")

    @property
    def threshold(self) -> float:
        """The score of the frozen threshold (see the model card)."""
        return classifier.load("injection", digest()).threshold

    def find(self, text: str, about: About) -> Finding:
        """The score of a text; context is also looked at for requests to an assistant."""
        found = score(text, about.place)
        hit = found.score >= self.threshold
        what = (
            "gives the model orders"
            if found.model == "injection"
            else "asks the model for something"
        )
        where = f", as {found.view}" if found.view else ""
        reason = (
            f"A sentence {what} as attacks do (score {found.score:.2f}{where})."
            if hit
            else f"No sentence looks like an attack to the model (score {found.score:.2f})."
        )
        left = normalizing.unread(text)
        if left:
            reason = f"{reason} {left:,} characters in the middle were not read."
        return Finding(found.score, hit, reason, found.sentence[:SHOWN], unread=left)


def injection() -> Injection:
    """The check of prompt injection and jailbreaks."""
    return Injection()


def score(text: str, place: Place = "input") -> Scored:
    """The score of a text; an empty one has 0."""
    found = pieces(text)
    if not found.texts:
        return Scored(0.0)
    read = signs_of(found, signs)
    best = _best(found, read, "injection")
    if place == "context":
        best = max(best, _best(found, read, "request"), key=lambda one: one.score)
    return best


def _best(found: Pieces, read: np.ndarray[Any, Any], name: str) -> Scored:
    import math

    model = classifier.load(name, digest())
    logits = model.logits(found.texts, read)
    place = int(logits.argmax())
    logit = float(logits[place]) - model.penalty * math.log(max(found.count, 1))
    seen = found.shown(place, logits)
    return Scored(model.probability(logit), found.texts[seen], found.views[place], name)
