"""The pieces of a text that a fitted check scores: sentences, windows and the whole, of each of its views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter.guard import normalizing
from llmops_jupyter.guard.sentences import WINDOW, sentences
from llmops_jupyter.guard.signs import HIDDEN

# Views that change how letters are drawn; the others had hidden what they show.
OPEN = frozenset({"", "plain letters", "figures for letters"})

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Pieces:
    """What is scored: each text with the name of its view and, for a window, the places of its sentences.

    Args:
        texts: sentences, windows and wholes, none twice.
        views: the view of each.
        members: the places of a window's sentences; () for a sentence, and for a whole, which is read itself.
        wholes: the places of wholes of several sentences.
        count: how many sentences there are.
    """

    texts: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    members: list[tuple[int, ...]] = field(default_factory=list)
    wholes: list[int] = field(default_factory=list)
    count: int = 0

    def add(self, text: str, view: str, members: tuple[int, ...] = ()) -> int:
        """Puts a piece at the end; returns its place."""
        self.texts.append(text)
        self.views.append(view)
        self.members.append(members)
        return len(self.texts) - 1

    def shown(self, place: int, logits: np.ndarray[Any, Any]) -> int:
        """The place of the sentence to show for a piece: the highest of those within it."""
        if place in self.wholes:
            view = self.views[place]
            alone = [
                p
                for p, members in enumerate(self.members)
                if not members and p not in self.wholes and self.views[p] == view
            ]
        else:
            alone = list(self.members[place])
        return max(alone, key=lambda p: logits[p], default=place)


def pieces(text: str) -> Pieces:
    """All pieces of a text; their number is linear in its length. An empty text has none."""
    found = Pieces()
    places: dict[str, int] = {}
    for view in normalizing.views(text):
        _add_view(found, places, view)
    found.count = len(places)
    return found


def _add_view(found: Pieces, places: dict[str, int], view: normalizing.View) -> None:
    """Adds the sentences that no earlier view had, and what they stand in."""
    parts = sentences(view.text)
    fresh = [part not in places for part in parts]
    for part in parts:
        if part not in places:
            places[part] = found.add(part, view.name)
    if len(parts) < 2 or not any(fresh):
        return
    found.wholes.append(found.add(view.text, view.name))
    for begin in range(len(parts) - WINDOW + 1):
        if len(parts) > WINDOW and any(fresh[begin : begin + WINDOW]):
            some = parts[begin : begin + WINDOW]
            found.add(" ".join(some), view.name, tuple(places[part] for part in some))


def signs_of(
    found: Pieces, signs: Callable[[Sequence[str]], np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """The signs of each piece: a window has those of its sentences.

    Patterns are the dear part of scoring; so they read each sentence once.
    """
    import numpy as np

    alone = [place for place, members in enumerate(found.members) if not members]
    read = signs([found.texts[place] for place in alone])
    made = np.zeros((len(found.texts), read.shape[1]), dtype=np.float32)
    made[alone] = read
    for place, members in enumerate(found.members):
        if members:
            made[place] = made[list(members)].max(axis=0)
    made[:, HIDDEN] = [view not in OPEN for view in found.views]
    return made
