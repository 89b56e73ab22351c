"""Rows that write nothing: how likely given tokens are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.sampler import log_partition
from llmops_jupyter.errors import EngineError
from llmops_jupyter.records import FinishReason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Result = list[float] | Exception


class _Silent(Row):
    def __init__(
        self,
        tokens: Sequence[int],
        done: Callable[[Result], None],
        adapters: Adapters,
        client: object,
    ) -> None:
        super().__init__(tokens, adapters=adapters, client=client)
        self._done = done

    def stop(self, reason: FinishReason, error: Exception | None = None) -> None:
        if not self.ended:
            self._end(error or EngineError(f"Scoring was {reason}. Run it again."))

    def _end(self, result: Result) -> None:
        self.ended = True
        if self.meter is not None:
            self.meter.drop(self)
        self._done(result)


class Labels(_Silent):
    """Log-probabilities of whole labels after a prompt.

    The prompt is read once. Its last logits give the first token of every label; labels of more tokens
    are then fed one after the other, each after going back to the prompt's end.

    Args:
        base: tokens that the labels have in common, at least one.
        labels: the tokens of each label after `base`.
    """

    def __init__(
        self,
        base: Sequence[int],
        labels: Sequence[Sequence[int]],
        done: Callable[[Result], None],
        adapters: Adapters = (),
        client: object = None,
    ) -> None:
        super().__init__(base, done, adapters, client)
        self.base = len(base)
        self.labels = [list(label) for label in labels]
        self.totals = [0.0] * len(labels)
        self._left = [i for i, label in enumerate(labels) if len(label) > 1]
        self._known = False

    @property
    def outputs_from(self) -> int:
        return self.base if self._known else self.base - 1

    def take(self, first: int, logits: Sequence[NDArray[np.float32]]) -> None:
        if not self._known:
            self._known = True
            partition = log_partition(logits[-1])
            for i, label in enumerate(self.labels):
                if label:
                    self.totals[i] = float(logits[-1][label[0]]) - partition
        else:
            label = self.labels[self._left[0]]
            for place, values in enumerate(logits, first - self.base):
                following = label[place + 1]
                self.totals[self._left[0]] += float(values[following]) - log_partition(values)
            if len(self.tokens) > self.read:
                return
            self._left.pop(0)
        if not self._left:
            self._end(self.totals)
            return
        self.rewind = self.base
        self.tokens = [*self.tokens[: self.base], *self.labels[self._left[0]][:-1]]


class Passage(_Silent):
    """Log-probability of each token of a text from index `start` on, given those before it."""

    def __init__(
        self,
        tokens: Sequence[int],
        done: Callable[[Result], None],
        *,
        start: int = 1,
        adapters: Adapters = (),
        client: object = None,
    ) -> None:
        super().__init__(tokens[:-1], done, adapters, client)
        self.whole = list(tokens)
        self.start = start
        self.found: list[float] = []

    @property
    def outputs_from(self) -> int:
        return self.start - 1

    def take(self, first: int, logits: Sequence[NDArray[np.float32]]) -> None:
        for place, values in enumerate(logits, first):
            following = self.whole[place + 1]
            self.found.append(float(values[following]) - log_partition(values))
        if len(self.found) == len(self.whole) - self.start:
            self._end(self.found)
