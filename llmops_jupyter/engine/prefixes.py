"""Beginnings of prompts that stay in the cache, so that the next prompt on them starts at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.engine.capability import Capability
    from llmops_jupyter.engine.context import Context

# A file's path, bytes and time of change in nanoseconds.
Content = tuple[str, int, int]


class Adapter(NamedTuple):
    """An adapter file as it was when it was named, and its scale."""

    path: str
    scale: float
    bytes: int
    changed: int

    @property
    def content(self) -> Content:
        return (self.path, self.bytes, self.changed)


Adapters = tuple[Adapter, ...]
_clock = itertools.count()


def common(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """Length of the beginning that two runs of tokens share."""
    n = min(len(a), len(b))
    different = a[:n] != b[:n]
    place = int(different.argmax()) if n else 0
    return place if n and different[place] else n


def usable(
    capability: Capability, held: NDArray[np.int32], tokens: NDArray[np.int32], limit: int
) -> int:
    """How many tokens, `limit` at most, can be gone on from, where a saved state holds `held`."""
    shared = min(common(held, tokens), limit)
    if shared == len(held):
        return shared
    # What no later token sees is not part of a state.
    oldest = max(0, len(held) - capability.window + 1) if capability.window else 0
    return shared if capability.parts and capability.reusable(shared, oldest) else 0


@dataclass(eq=False, kw_only=True)
class Beginning:
    """Tokens that were computed with certain adapters.

    `made` is when, in seconds since the epoch; `weighed`, whether it was considered for the disk.
    """

    tokens: NDArray[np.int32]
    adapters: Adapters
    used: int = field(default_factory=lambda: next(_clock))
    made: float = field(default_factory=time.time)
    weighed: bool = False

    def touch(self) -> None:
        """It is used now."""
        self.used = next(_clock)


@dataclass(eq=False, kw_only=True)
class Prefix(Beginning):
    """A beginning that a kept sequence holds.

    `wanted` says that a row began with the whole of it, so that it takes no cells of its own.
    """

    sequence: int
    wanted: bool = False


class Prefixes:
    """The kept sequences of a context, the one used longest ago dropped first.

    Args:
        context: where they are.
        sequences: the sequences that may be used for them.
        cells: how many cells they may take in all.
        cheap: cells above which only the two that were used last stay, since they slow down all others.
    """

    def __init__(
        self, context: Context, sequences: Sequence[int], cells: int, cheap: int | None = None
    ) -> None:
        self.context = context
        self.cells = cells
        self.cheap = cells if cheap is None else cheap
        self._free = list(sequences)
        self.kept: list[Prefix] = []

    def find(
        self, tokens: NDArray[np.int32], adapters: Adapters, limit: int
    ) -> tuple[Prefix | None, int]:
        """The prefix that shares most with the tokens, and how much, `limit` at most."""
        best, most = None, 0
        parts = self.context.capability.parts
        for prefix in self.kept:
            if prefix.adapters != adapters:
                continue
            shared = min(common(prefix.tokens, tokens), limit)
            if not parts and shared < len(prefix.tokens):
                continue
            if shared > most:
                best, most = prefix, shared
        if best is not None:
            best.touch()
        return best, most

    def keep(self, source: int, tokens: NDArray[np.int32], adapters: Adapters) -> bool:
        """Keep the beginning `tokens` of a sequence; what is kept already is not kept twice."""
        if not len(tokens) or len(tokens) > self.cells:
            return False
        for prefix in list(self.kept):
            if prefix.adapters != adapters:
                continue
            shared = common(prefix.tokens, tokens)
            if shared == len(tokens) and (
                self.context.capability.parts or shared == len(prefix.tokens)
            ):
                prefix.touch()
                return True
            if shared == len(prefix.tokens) and self.context.capability.parts:
                self.drop(prefix)
        if not self._free and not self.evict():
            return False
        sequence = self._free.pop()
        if not self.context.copy(source, sequence, len(tokens)):
            self._free.append(sequence)
            return False
        self.kept.append(Prefix(sequence=sequence, tokens=tokens.copy(), adapters=adapters))
        while len(self.kept) > 1 and self._taken() > (self.cheap if self.kept[2:] else self.cells):
            self.evict()
        return True

    def trim(self, prefix: Prefix, length: int) -> None:
        """Keep only the first `length` tokens of a prefix."""
        if length <= 0 or not self.context.cut(prefix.sequence, length):
            self.drop(prefix)
            return
        prefix.tokens = prefix.tokens[:length]

    def drop(self, prefix: Prefix) -> None:
        """Forget a prefix."""
        self.context.drop(prefix.sequence)
        self.kept.remove(prefix)
        self._free.append(prefix.sequence)

    def drop_all(self) -> None:
        """Forget all prefixes."""
        while self.evict():
            pass

    def evict(self) -> bool:
        """Drop the prefix that was used longest ago; False if there is none."""
        if not self.kept:
            return False
        self.drop(min(self.kept, key=lambda p: p.used))
        return True

    def make_room(self, cells: int) -> bool:
        """Drop prefixes until so many cells are free; False if there are not so many."""
        while self.context.free_cells < cells:
            if not self.evict():
                return False
        return True

    def forget(self) -> None:
        """Know of none any more, after the context was cleared."""
        self._free += [p.sequence for p in self.kept]
        self.kept.clear()

    def _taken(self) -> int:
        return sum(self.context.length(p.sequence) for p in self.kept)
