"""One run of tokens on its way through the model: what the scheduler knows of a piece of work."""

from __future__ import annotations

import itertools
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.records import FinishReason, Resources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.engine.meter import Meter

_numbers = itertools.count()


class Row(ABC):
    """Work on one sequence. A subclass says what to do with the logits.

    `tokens` is what the sequence shall hold; those from index `outputs_from` on need logits. `read` of them
    are in the cache, `cached` of those were found there. `take` gets the logits and may lengthen `tokens`,
    set `rewind` to go back to that many tokens, or set `ended`. `meter` knows what the row takes. All but `cancel` is
    for the scheduler's thread.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        *,
        adapters: Adapters = (),
        interactive: bool = False,
        client: object = None,
        deadline_s: float | None = None,
    ) -> None:
        import numpy as np

        self.number = next(_numbers)
        self.prompt: NDArray[np.int32] = np.asarray(tokens, dtype=np.int32)
        self.tokens = list(tokens)
        self.adapters = adapters
        self.interactive = interactive
        self.client = client
        self.asked = time.perf_counter()
        self.deadline = None if deadline_s is None else self.asked + deadline_s
        self.cancelled = threading.Event()
        self.read = 0
        self.cached: int | None = None
        self.sequence: int | None = None
        self.rewind: int | None = None
        self.ended = False
        self.stops: set[int] = set()
        self.waits_for: tuple[Row, int] | None = None
        self.meter: Meter | None = None

    @property
    def pending(self) -> int:
        """Tokens that are not in the cache yet."""
        return len(self.tokens) - self.read

    @property
    def outputs_from(self) -> int:
        """Index of the first token whose logits are needed."""
        return len(self.tokens) - 1

    def outputs(self, count: int) -> int:
        """How many of the next `count` tokens need logits."""
        return max(0, self.read + count - max(self.outputs_from, self.read))

    def cancel(self) -> None:
        """Ask for the row to be dropped at the next step."""
        self.cancelled.set()

    def spent(self) -> Resources | None:
        """What the row took, at its end; None if nothing was computed for it, or nobody measures."""
        meter, self.meter = self.meter, None
        return None if meter is None else meter.settle(self)

    def late(self, now: float) -> bool:
        return self.deadline is not None and now > self.deadline

    @abstractmethod
    def take(self, first: int, logits: Sequence[NDArray[np.float32]]) -> None:
        """The logits of the tokens from index `first` on."""

    @abstractmethod
    def stop(self, reason: FinishReason, error: Exception | None = None) -> None:
        """End before the work is done."""
