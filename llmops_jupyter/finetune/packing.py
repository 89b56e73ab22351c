"""Examples that begin alike, read together: each shared beginning once, and nothing padded.

The examples of a pass form a tree of tokens. Its nodes lie one after the other in one sequence; a token
sees the tokens before it in its own node and in those above, at the positions that it would have alone. So
loss and gradients are those of the examples read one by one. What a token teaches about the next stands in
`sources`, `targets` and `weights`, since one beginning may be followed by several tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """Token ids of an example; those from `learned` on are learned."""

    ids: tuple[int, ...]
    learned: int
    row: str = ""

    @property
    def targets(self) -> int:
        """Tokens that are learned; the first of a text follows nothing and is none."""
        return len(self.ids) - max(self.learned, 1)

    def shared(self, other: Tokens) -> int:
        """How many tokens the two begin with alike."""
        count = 0
        for ours, theirs in zip(self.ids, other.ids, strict=False):
            if ours != theirs:
                break
            count += 1
        return count


@dataclass(frozen=True)
class Pack:
    """Examples that are read in one pass.

    `ids`, `positions` and `nodes` have a number for each of its T tokens; `above` (nodes, nodes) says which
    node lies on the way to which, itself included. Each of `sources` (places in `ids`) is followed by the
    token in `targets`, in as many examples as `weights` says.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    nodes: NDArray[np.int64]
    above: NDArray[np.bool_]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    examples: int

    @property
    def tokens(self) -> int:
        """Tokens that are read."""
        return len(self.ids)

    @property
    def learned(self) -> int:
        """Tokens that are learned, each example's counted."""
        return int(self.weights.sum())

    def sees(self, window: int = 0) -> NDArray[np.bool_]:
        """Which token (row) sees which (column), shape (T, T); at most `window` positions back if set."""
        import numpy as np

        places = np.arange(self.tokens)
        seen: NDArray[np.bool_] = self.above[np.ix_(self.nodes, self.nodes)].T & (
            places[None, :] <= places[:, None]
        )
        if window:
            seen &= self.positions[:, None] - self.positions[None, :] < window
        return seen


def pack(sequences: Sequence[Tokens], *, share: bool = True) -> Pack:
    """All of `sequences` in one pass; without `share` their common beginnings are read for each."""
    import numpy as np

    ids: list[int] = []
    positions: list[int] = []
    nodes: list[int] = []
    parents: list[int] = []
    taught: dict[tuple[int, int], float] = {}
    # Groups that share a node: its depth, the node above it, and the place of the token before it.
    whole = sorted(sequences, key=lambda s: s.ids) if share else list(sequences)
    waiting = [(whole, 0, -1, -1)]
    while waiting:
        group, depth, parent, last = waiting.pop()
        end = _common(group, depth) if share or len(group) == 1 else depth
        node = parent
        if end > depth:
            node = len(parents)
            parents.append(parent)
            first = len(ids)
            ids.extend(group[0].ids[depth:end])
            positions.extend(range(depth, end))
            nodes.extend([node] * (end - depth))
            for sequence in group:
                for place in range(max(sequence.learned, depth, 1), end):
                    source = first + place - depth - 1 if place > depth else last
                    key = (source, sequence.ids[place])
                    taught[key] = taught.get(key, 0.0) + 1.0
            last = first + end - depth - 1
        branches = _branches(group, end, share=share)
        waiting.extend((branch, end, node, last) for branch in reversed(branches))
    order = sorted(taught)
    return Pack(
        ids=np.array(ids, dtype=np.int64),
        positions=np.array(positions, dtype=np.int64),
        nodes=np.array(nodes, dtype=np.int64),
        above=_above(parents),
        sources=np.array([source for source, _ in order], dtype=np.int64),
        targets=np.array([target for _, target in order], dtype=np.int64),
        weights=np.array([taught[key] for key in order], dtype=np.float32),
        examples=len(sequences),
    )


def _above(parents: list[int]) -> NDArray[np.bool_]:
    """Which node lies on the way to which; each comes after the one above it."""
    import numpy as np

    found = np.zeros((len(parents), len(parents)), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            found[:, node] = found[:, parent]
        found[node, node] = True
    return found


def _common(group: list[Tokens], depth: int) -> int:
    """Where the first of a sorted group ends or parts from the others."""
    first, last = group[0], group[-1]
    end = min(len(first.ids), len(last.ids))
    while depth < end and first.ids[depth] == last.ids[depth]:
        depth += 1
    return depth


def _branches(group: list[Tokens], end: int, *, share: bool) -> list[list[Tokens]]:
    rest = [s for s in group if len(s.ids) > end]
    if not share:
        return [[s] for s in rest]
    found: dict[int, list[Tokens]] = {}
    for sequence in rest:
        found.setdefault(sequence.ids[end], []).append(sequence)
    return list(found.values())


def passes(sequences: Sequence[Tokens], budget: int, *, share: bool = True) -> list[list[Tokens]]:
    """Sequences in groups of at most `budget` tokens to read; one that is longer stands alone.

    Those that begin alike come together, since sorting brings them beside each other.
    """
    groups: list[list[Tokens]] = []
    used, before = 0, None
    for sequence in sorted(sequences, key=lambda s: s.ids) if share else sequences:
        cost = len(sequence.ids)
        fresh = cost - (sequence.shared(before) if share and before is not None else 0)
        if groups and used + fresh <= budget:
            groups[-1].append(sequence)
            used += fresh
        else:
            groups.append([sequence])
            used = cost
        before = sequence
    return groups
