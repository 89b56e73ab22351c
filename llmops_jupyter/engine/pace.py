"""How many tokens to read at once, from the speed that was measured."""

from __future__ import annotations

import itertools
import math

TARGET_S = 0.2
STEP = 32
FIRST = 128
DEPTH = 1024
KEEP = 0.7


class Pace:
    """Sizes the pieces of a prompt so that reading one takes about `target_s`.

    Whoever waits for the next piece (a cancelled request, an interactive prompt) waits that long at most.
    Attention grows with the depth at which tokens are read, so the speed is kept by depth. Sizes are
    multiples of 32, since few sizes let the library keep its graphs.
    """

    def __init__(self, largest: int, target_s: float = TARGET_S) -> None:
        self.largest = largest
        self.target_s = target_s
        self._seconds: dict[int, float] = {}

    def note(self, tokens: int, depth: int, seconds: float) -> None:
        """A piece of `tokens` that began at `depth` took so long."""
        if tokens < STEP:
            return
        place, each = depth // DEPTH, seconds / tokens
        before = self._seconds.get(place, each)
        self._seconds[place] = KEEP * before + (1 - KEEP) * each

    def chunk(self, depth: int) -> int:
        """Tokens to read next at `depth`."""
        if not self._seconds:
            return min(FIRST, self.largest)
        fitting = int(self.target_s / self._each(depth // DEPTH))
        return max(min(STEP, self.largest), min(self.largest, fitting // STEP * STEP))

    def seconds(self, begin: int, end: int) -> float | None:
        """How long reading the tokens from `begin` to `end` takes; None while nothing was measured."""
        if not self._seconds:
            return None
        cuts = [begin, *range((begin // DEPTH + 1) * DEPTH, end, DEPTH), end]
        parts = [(b - a) * self._each(a // DEPTH) for a, b in itertools.pairwise(cuts)]
        return math.fsum(parts)

    def _each(self, place: int) -> float:
        """Seconds for a token at the depth measured nearest to a place."""
        return self._seconds[min(self._seconds, key=lambda known: abs(known - place))]

    @property
    def tokens_per_s(self) -> float | None:
        """Speed of reading at the shallowest depth that was measured."""
        return 1 / self._seconds[min(self._seconds)] if self._seconds else None
