"""How requests run on MLX: many at once in mlx-lm's batch generator, or one alone. For one thread.

The batch generator hands each row's logits to the row, which draws its own token, so that sampling, stop strings
and reasoning are the same code as on llama.cpp.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from llmops_jupyter.engine.meter import Meter
from llmops_jupyter.engine.mlx.adapters import ModelAdapters
from llmops_jupyter.engine.mlx.beginnings import CHUNK, Beginnings
from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.engine.row import Row
from llmops_jupyter.errors import EngineError, LLMOpsError

# Interactive rows that may run above the number of rows.
SPARE = 2
ENDLESS = 2**31 - 1


class Lane:
    """Rows that wait, and what ends them early."""

    def __init__(self, model: Any, adapters: ModelAdapters, meter: Meter) -> None:
        self.model = model
        self.adapters = adapters
        self.meter = meter
        self.waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """Take on a row."""
        row.meter = self.meter
        self.waiting.append(row)

    def _end_due(self, rows: Sequence[Row]) -> None:
        now = time.perf_counter()
        for row in rows:
            if not row.ended and row.cancelled.is_set():
                row.stop("interrupted")
            elif not row.ended and row.late(now):
                row.stop("deadline")


class BatchLane(Lane):
    """Rows that write together; those of each adapter set in a batch of their own, which take turns.

    Args:
        model, adapters: that compute.
        meter: knows what each row takes.
        rows: that run at once; interactive ones may exceed it by `SPARE`.
    """

    def __init__(self, model: Any, adapters: ModelAdapters, meter: Meter, rows: int) -> None:
        super().__init__(model, adapters, meter)
        self.rows = rows
        self.beginnings = Beginnings(model)
        self._batches: dict[Adapters, _Batch] = {}

    @property
    def active(self) -> list[Row]:
        """The rows that run."""
        return [row for batch in self._batches.values() for row in batch.rows.values()]

    def step(self) -> bool:
        """Write one token of each row of a batch; returns whether there is more to do."""
        self._drop_ended()
        self._admit()
        if self._batches:
            # The one that comes first goes to the end of the queue.
            used = next(iter(self._batches))
            batch = self._batches[used] = self._batches.pop(used)
            try:
                self.adapters.use(used)
            except LLMOpsError as e:
                for row in batch.rows.values():
                    row.stop("error", e)
            else:
                batch.step()
            self._drop_ended()
        return bool(self.waiting or self._batches)

    def stop_all(self, error: Exception | None = None) -> None:
        """End all rows: cancelled, or failed with an error."""
        for row in [*self.active, *self.waiting]:
            row.stop("interrupted" if error is None else "error", error)
        self.waiting.clear()
        for batch in self._batches.values():
            batch.close()
        self._batches.clear()

    def _drop_ended(self) -> None:
        self._end_due([*self.active, *self.waiting])
        self.waiting = [row for row in self.waiting if not row.ended]
        for used, batch in list(self._batches.items()):
            batch.drop_ended(self.beginnings)
            if not batch.rows:
                batch.close()
                del self._batches[used]

    def _admit(self) -> None:
        self.waiting.sort(key=lambda row: not row.interactive)
        starting: list[Row] = []
        while self.waiting:
            row = self.waiting[0]
            if len(self.active) + len(starting) >= self.rows + SPARE * row.interactive:
                break
            starting.append(self.waiting.pop(0))
        for used in dict.fromkeys(row.adapters for row in starting):
            self._start(used, [row for row in starting if row.adapters == used])

    def _start(self, used: Adapters, rows: Sequence[Row]) -> None:
        """Let rows of one adapter set run; what they begin with is read once."""
        try:
            self.adapters.use(used)
        except LLMOpsError as e:
            for row in rows:
                row.stop("error", e)
            return
        self.meter.begin()
        self.beginnings.read_shared(rows)
        if used not in self._batches:
            self._batches[used] = _Batch(self.model, self.rows + SPARE, self.meter)
        for row in rows:
            self._batches[used].add(row, *self.beginnings.of(row))


class _Batch:
    """mlx-lm's batch generator with the rows that it runs."""

    def __init__(self, model: Any, size: int, meter: Meter) -> None:
        import mlx.core as mx
        from mlx_lm.generate import BatchGenerator

        self.rows: dict[int, Row] = {}
        self._meter = meter
        self._charged: set[int] = set()
        self._stepped = False
        self._generator = BatchGenerator(
            model,
            completion_batch_size=size,
            prefill_batch_size=size,
            prefill_step_size=CHUNK,
            stream=mx.default_stream(mx.default_device()),
        )

    def add(self, row: Row, cache: list[Any], read: int) -> None:
        """Run a row, of whose tokens so many are in the cache."""
        row.read = row.cached = read
        drawing = _Drawing(row, self.computed)
        (number,) = self._generator.insert(
            [row.tokens[read:]],
            [ENDLESS],
            caches=[cache],
            all_tokens=[row.tokens[:read]],
            samplers=[drawing.sample],
            logits_processors=[[drawing.keep]],
        )
        self.rows[number] = row

    def step(self) -> None:
        self._meter.begin()
        self._stepped = True
        self._generator.next()

    def computed(self) -> None:
        """Share out what a step took, once the logits of its first row are there: then those of all are."""
        if not self._stepped:
            return
        self._stepped = False
        running = {number: row for number, row in self.rows.items() if not row.ended}
        # A row's first share is for its prompt.
        shares = [
            (row, 1 if number in self._charged else max(1, len(row.prompt) - row.read))
            for number, row in running.items()
        ]
        self._charged = set(running)
        self._meter.charge(shares)

    def drop_ended(self, beginnings: Beginnings) -> None:
        """Let go of the rows that have ended; what may be gone on from is kept."""
        ended = [number for number, row in self.rows.items() if row.ended]
        if ended:
            caches = self._generator.remove(ended, return_prompt_caches=True)
            for number in ended:
                row = self.rows.pop(number)
                cache, tokens = caches.get(number, (None, ()))
                if cache and row.interactive:
                    beginnings.keep(row.adapters, list(tokens), cache)

    def close(self) -> None:
        self._generator.close()


class _Drawing:
    """Lets a row draw its token within a step of the batch generator, which gives raw logits first."""

    def __init__(self, row: Row, computed: Callable[[], None]) -> None:
        self._row = row
        self._computed = computed
        self._logits: Any = None

    def keep(self, _: Any, logits: Any) -> Any:
        self._logits = logits
        return logits

    def sample(self, _: Any) -> Any:
        import mlx.core as mx
        import numpy as np

        row, logits = self._row, self._logits
        self._logits = None
        if row.ended:
            return mx.array([row.tokens[-1]], dtype=mx.uint32)
        # The prompt is fed first, then a token a step.
        read = max(len(row.prompt), row.read + 1)
        values = np.array(logits[0].astype(mx.float32)) if read == len(row.tokens) else None
        self._computed()
        row.read = read
        if values is not None:
            try:
                row.take(row.read - 1, [values])
            except Exception as e:  # noqa: BLE001 - it is this row's alone; the others go on
                row.stop("error", e if isinstance(e, LLMOpsError) else _failed(e))
        # A row may have added several tokens, which are fed one after the other.
        following = row.tokens[-1] if row.ended or row.pending == 0 else row.tokens[row.read]
        return mx.array([following], dtype=mx.uint32)


class SingleLane(Lane):
    """Rows that run alone, one after the other: scoring, and requests whose answer is to be exact."""

    def __init__(self, model: Any, adapters: ModelAdapters, meter: Meter) -> None:
        super().__init__(model, adapters, meter)
        self._cache: list[Any] = []

    def step(self) -> bool:
        """Read one piece or draw one token; returns whether there is more to do."""
        self._drop_ended()
        if self.waiting:
            row = self.waiting[0]
            try:
                self._advance(row)
            except LLMOpsError as e:
                row.stop("error", e)
            self._drop_ended()
        return bool(self.waiting)

    def stop_all(self, error: Exception | None = None) -> None:
        """End all rows: cancelled, or failed with an error."""
        for row in self.waiting:
            row.stop("interrupted" if error is None else "error", error)
        self.waiting.clear()
        self._cache = []

    def _drop_ended(self) -> None:
        self._end_due(self.waiting)
        self.waiting = [row for row in self.waiting if not row.ended]

    def _advance(self, row: Row) -> None:
        import mlx.core as mx
        import numpy as np

        self.adapters.use(row.adapters)
        self._place(row)
        count = min(row.pending, CHUNK)
        tokens = row.tokens[row.read : row.read + count]
        outputs = row.outputs(count)
        self.meter.begin()
        logits = self.model(mx.array([tokens]), cache=self._cache)
        row.read += count
        if outputs:
            values = np.array(logits[0, count - outputs :].astype(mx.float32))
            self.meter.charge([(row, count)])
            row.take(row.read - outputs, list(values))
        else:
            mx.eval([c.state for c in self._cache])
            self.meter.charge([(row, count)])

    def _place(self, row: Row) -> None:
        """Make the cache hold what the row has read, after going back if it asks for that."""
        from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

        if row.sequence is None:
            row.sequence, row.cached = 0, 0
            self._cache = make_prompt_cache(self.model)
        if row.rewind is not None:
            if can_trim_prompt_cache(self._cache):
                trim_prompt_cache(self._cache, row.read - row.rewind)
                row.read = row.rewind
            else:
                self._cache, row.read = make_prompt_cache(self.model), 0
            row.rewind = None


def _failed(error: Exception) -> EngineError:
    failed = EngineError(f"The engine failed: {type(error).__name__}: {error}. Run again.")
    failed.__cause__ = error
    return failed
