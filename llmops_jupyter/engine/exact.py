"""One request at a time in a fixed shape, so that the same request always gets the same answer.

The logits of a token move a little with what else is in its batch. Here a prompt is read in pieces that
begin at multiples of `CHUNK` in a cache that holds nothing else, and only whole pieces that an earlier
prompt read in the same way are used again. So every token is computed in the same shape whatever ran
before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from llmops_jupyter.engine.context import Context, Piece
from llmops_jupyter.engine.meter import Meter, new_meter
from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.engine.row import Row
from llmops_jupyter.errors import EngineError, LLMOpsError

CHUNK = 128


class ExactLane:
    """Rows that run alone, one after the other; used by one thread.

    Args:
        make_context: makes the context of one sequence that they need, when the first one comes.
        load_adapters: makes (pointer, scale) pairs of an adapter set, or raises.
        meter: knows what each row takes; None makes one.
    """

    def __init__(
        self,
        make_context: Callable[[], Context],
        load_adapters: Callable[[Adapters], list[tuple[Any, float]]],
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter or new_meter()
        self._make_context = make_context
        self._load_adapters = load_adapters
        self._context: Context | None = None
        self._adapters: Adapters = ()
        self._solid: list[int] = []
        self.waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """Take on a row."""
        row.meter = self.meter
        self.waiting.append(row)

    @property
    def busy(self) -> bool:
        return bool(self.waiting)

    def step(self) -> bool:
        """Read one piece or draw one token; returns whether there is more to do."""
        self._drop_ended()
        if self.waiting:
            row = self.waiting[0]
            try:
                self._advance(row)
            except LLMOpsError as e:
                self._solid = []
                row.stop("error", e)
            self._drop_ended()
        return self.busy

    def stop_all(self, error: Exception | None = None) -> None:
        for row in self.waiting:
            row.stop("interrupted" if error is None else "error", error)
        self.waiting.clear()

    def _drop_ended(self) -> None:
        now = time.perf_counter()
        for row in self.waiting:
            if not row.ended and row.cancelled.is_set():
                row.stop("interrupted")
            elif not row.ended and row.late(now):
                row.stop("deadline")
        self.waiting = [row for row in self.waiting if not row.ended]

    def _advance(self, row: Row) -> None:
        if self._context is None:
            self._context = self._make_context()
        if row.sequence is None:
            self._begin(self._context, row)
        count = min(row.pending, CHUNK - row.read % CHUNK)
        tokens = row.tokens[row.read : row.read + count]
        outputs = row.outputs(count)
        if outputs > 1:
            raise EngineError("Only generation can be exact. Leave exact out.")
        self.meter.begin()
        (place,) = self._context.feed([Piece(0, tokens, outputs)])
        self.meter.charge([(row, count)])
        if count == CHUNK and len(self._solid) == row.read:
            self._solid.extend(tokens)
        row.read += count
        if outputs:
            row.take(row.read - 1, [self._context.logits(place + count - 1)])

    def _begin(self, context: Context, row: Row) -> None:
        """Go back to what the row's prompt has in common with the one before."""
        if row.adapters != self._adapters:
            context.use_adapters(self._load_adapters(row.adapters))
            self._adapters, self._solid = row.adapters, []
        common = 0
        for ours, theirs in zip(self._solid, row.tokens, strict=False):
            if ours != theirs:
                break
            common += 1
        kept = min(common, len(row.tokens) - 1) // CHUNK * CHUNK
        kept = min(kept, context.length(0))
        row.sequence = 0
        row.read = row.cached = kept if context.cut(0, kept) else 0
        self._solid = self._solid[: row.read]
