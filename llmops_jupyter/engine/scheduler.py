"""Continuous batching: which rows run, on which shared beginnings, in which steps.

Each step computes one batch: the next token of every row that is writing, and pieces of the prompts of
those that are reading. A row that ends is replaced at once. Rows whose prompts begin alike read the
beginning once: whoever comes later waits for the first and goes on from a copy of its cells, and the shared
node stays in the cache. When cells run out, kept beginnings go first, then the youngest row is put back and
later reads again what it had.

Interactive rows go first: while one runs, the others get a step a second. Rows of different adapters
cannot share a batch and take turns. Rows of several callers are admitted in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llmops_jupyter.engine.aside import Aside
from llmops_jupyter.engine.context import Context, NoRoomError, Piece
from llmops_jupyter.engine.meter import Meter, new_meter
from llmops_jupyter.engine.pace import Pace
from llmops_jupyter.engine.prefixes import Adapters, Prefix, Prefixes, common
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.saving import Saving
from llmops_jupyter.errors import EngineError, LLMOpsError

MIN_SHARE = 16
SPARE = 2
NODES = 16
WHOLE = 4
SLICE_S = 0.5
SHARE_S = 1.0
HEADROOM = 64
# Seconds that a batch waits until what it does not begin with is set aside.
SETTLE_S = 0.1


class Scheduler:
    """Runs rows on a context; used by one thread.

    Args:
        context: with at least `rows + SPARE` sequences; those above are for kept beginnings.
        rows: rows that run at once; interactive ones may exceed it by `SPARE`.
        load_adapters: makes (pointer, scale) pairs of an adapter set, or raises.
        meter: knows what each row takes; None makes one.
    """

    def __init__(
        self,
        context: Context,
        rows: int,
        load_adapters: Callable[[Adapters], list[tuple[Any, float]]],
        meter: Meter | None = None,
    ) -> None:
        self.context = context
        self.meter = meter or new_meter()
        self.rows = rows
        self.load_adapters = load_adapters
        self.waiting: list[Row] = []
        self.active: list[Row] = []
        self.pace = Pace(context.size.batch)
        slots = rows + SPARE
        self._free = list(range(slots - 1, -1, -1))
        kept = range(slots, context.sequences)
        self.prefixes = Prefixes(context, kept, context.cells.size // 2, context.cheap_cells)
        self._adapters: Adapters = ()
        self._turn_began = 0.0
        self._others_ran = 0.0
        self._writing: list[tuple[Row, int]] = []
        self.tokens_per_s: float | None = None
        # Beginnings in memory and on disk, if they are kept there.
        self.aside: Aside | None = None
        self.saving: Saving | None = None

    def add(self, row: Row) -> None:
        """Take on a row."""
        row.meter = self.meter
        self.waiting.append(row)

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.active)

    def step(self) -> bool:
        """Compute one batch; returns whether there is more to do."""
        plan = self._again()
        if not plan:
            self._drop_ended()
            self._admit()
            plan = self._plan()
            self._writing = plan if self._all_write(plan) else []
        if plan:
            self._compute(plan)
        return self.busy

    def stop_all(self, error: Exception | None = None) -> None:
        """End all rows: cancelled, or failed with an error."""
        for row in [*self.active, *self.waiting]:
            row.stop("interrupted" if error is None else "error", error)
        self._drop_ended()

    def rest(self) -> bool:
        """Work for when there is nothing else to do, a little at a time; whether there is more."""
        if self.aside is not None and self.aside.step():
            return True
        if self.saving is not None:
            self.saving.step()
        return False

    def forget_prefixes(self) -> None:
        """Forget all beginnings that are kept in the cache and in memory."""
        self.prefixes.drop_all()
        if self.aside is not None:
            self.aside.forget()

    def reset(self, error: Exception) -> None:
        """Fail all rows and forget all that the cache holds."""
        self.stop_all(error)
        self.prefixes.forget()
        self.context.clear()

    # Which rows run.

    def _drop_ended(self) -> None:
        now = time.perf_counter()
        for row in [*self.active, *self.waiting]:
            if not row.ended and row.cancelled.is_set():
                row.stop("interrupted")
            elif not row.ended and row.late(now):
                row.stop("deadline")
        self.waiting = [row for row in self.waiting if not row.ended]
        for row in [row for row in self.active if row.ended]:
            self._release(row)

    def _release(self, row: Row) -> None:
        """Give a row's sequence back; an interactive one may be gone on from, so it is kept."""
        import numpy as np

        self.active.remove(row)
        sequence, row.sequence = row.sequence, None
        if sequence is None:
            return
        if row.interactive and row.read >= MIN_SHARE:
            tokens = np.asarray(row.tokens[: row.read], dtype=np.int32)
            self._trim_alike(tokens, row.adapters)
            self.prefixes.keep(sequence, tokens, row.adapters)
        self.context.drop(sequence)
        self._free.append(sequence)

    def _trim_alike(self, tokens: object, adapters: Adapters) -> None:
        """Of earlier conversations that begin like this one, keep only the beginning; of others a few."""
        if not self.context.capability.parts:
            return
        long = [p for p in self.prefixes.kept if p.adapters == adapters]
        for prefix in long:
            shared = common(prefix.tokens, tokens)  # type: ignore[arg-type]
            if MIN_SHARE <= shared < len(prefix.tokens):
                self.prefixes.trim(prefix, shared)
        oldest = sorted(self.prefixes.kept, key=lambda p: p.used)
        for prefix in oldest[: max(0, len(oldest) - NODES)]:
            self.prefixes.drop(prefix)

    def _admit(self) -> None:
        """Start waiting rows while there are sequences and cells for them."""
        begins = bool(self.waiting) and not self.active
        if self.aside is not None and begins and not any(r.interactive for r in self.waiting):
            self.aside.settle(SETTLE_S)
        started = 0
        for row in sorted(self.waiting, key=self._order):
            most = self.rows + (SPARE if row.interactive else 0)
            if len(self.active) >= most or not self._free:
                break
            if not self._start(row):
                continue
            self.waiting.remove(row)
            self.active.append(row)
            started += 1
        if self.aside is not None and started:
            self.aside.clear_cache()

    def _order(self, row: Row) -> tuple[bool, int, int]:
        """Interactive rows first, then those whose caller has the fewest running, then the oldest."""
        mine = sum(other.client is row.client for other in self.active)
        return (not row.interactive, mine, row.number)

    def _start(self, row: Row) -> bool:
        """Give a row a sequence and what the cache holds of its prompt; False if it is to wait."""
        if row.waits_for is not None:
            other, until = row.waits_for
            if not other.ended and other in self.active and other.read < until:
                return False
            row.waits_for = None
        limit = min(row.outputs_from, len(row.tokens) - 1)
        prefix, shared = self.prefixes.find(row.prompt, row.adapters, limit)
        source: Row | None = None
        for other in self.active:
            if other.adapters != row.adapters:
                continue
            alike = min(common(other.prompt, row.prompt), limit)
            here = self._copyable(other, alike)
            if alike - max(here, shared) >= MIN_SHARE and (
                other.interactive or not row.interactive
            ):
                other.stops.add(alike)
                row.waits_for = (other, alike)
                return False
            if here > shared:
                source, shared = other, here
        if not self._cells_for(row, shared):
            return False
        self._place(row, source, prefix, shared)
        return True

    def _copyable(self, other: Row, alike: int) -> int:
        """How many of the tokens that two rows share can be copied from the other one now."""
        if self.context.capability.parts:
            return min(alike, other.read)
        return other.read if other.read <= alike else 0

    def _cells_for(self, row: Row, shared: int) -> bool:
        """Whether a row can start without driving others out; alone it always can."""
        if not self.active:
            return True
        wanted = len(row.tokens) - shared + self._promised() + HEADROOM
        while self.context.free_cells < wanted and len(self.prefixes.kept) > 1:
            self.prefixes.evict()
        return self.context.free_cells >= wanted

    def _promised(self) -> int:
        """Cells that the rows that run are going to need soon."""
        return sum(max(other.pending, 0) + 1 for other in self.active)

    def _place(self, row: Row, source: Row | None, prefix: Prefix | None, shared: int) -> None:
        sequence = self._free.pop()
        row.sequence = sequence
        row.read = self._restore(row, sequence, shared)
        origin = source.sequence if source is not None else prefix.sequence if prefix else None
        gone = source is None and prefix is not None and prefix not in self.prefixes.kept
        if shared and not row.read and origin is not None and not gone:
            if source is None and not self.context.capability.parts and prefix is not None:
                shared = len(prefix.tokens)
            if self.context.copy(origin, sequence, shared):
                row.read = shared
                if source is None and prefix is not None:
                    prefix.wanted = shared == len(prefix.tokens)
        if row.cached is None:
            row.cached = row.read

    def _restore(self, row: Row, sequence: int, shared: int) -> int:
        """How many tokens the sequence has from memory or disk: more than `shared`, or none."""
        promised = self._promised()
        found = self.aside.longest(row, shared) if self.aside is not None else None
        if self.saving is not None:
            here = found[1] if found is not None else shared
            read = self.saving.restore(row, sequence, here, promised)
            if read:
                return read
        if self.aside is None or found is None:
            return 0
        return self.aside.restore(row, sequence, found, promised)

    # What a step computes.

    def _all_write(self, plan: Sequence[tuple[Row, int]]) -> bool:
        """Whether a plan gives every running row its next token, and all rows are of one kind."""
        alike = len({row.interactive for row in self.active}) == 1
        return alike and len(plan) == len(self.active) and all(count == 1 for _, count in plan)

    def _again(self) -> list[tuple[Row, int]]:
        """The last plan once more, while nobody comes or goes and every row writes; else nothing.

        Most steps are of this kind. With a small model, planning each anew costs some percent of a step.
        """
        plan = self._writing
        if self.waiting or len(plan) != len(self.active) or self.context.free_cells < len(plan):
            return []
        now = time.perf_counter()
        for row, _ in plan:
            if row.ended or row.pending != 1 or row.cancelled.is_set() or row.late(now):
                return []
        return plan

    def _plan(self) -> list[tuple[Row, int]]:
        """The rows of this step with how many tokens each gets."""
        rows = self._whose_turn()
        if not rows:
            return []
        size = self.context.size
        plan: list[tuple[Row, int]] = []
        writing = [row for row in rows if row.pending == 1]
        reading = [row for row in rows if row.pending > 1]
        outputs = size.outputs
        for row in writing[: size.batch]:
            if row.outputs(1) <= outputs:
                plan.append((row, 1))
                outputs -= row.outputs(1)
        if reading:
            depth = max(row.read for row in reading)
            left = min(max(self.pace.chunk(depth) - len(plan), 1), size.batch - len(plan))
            for row in reading:
                count = self._piece(row, left, outputs)
                if count > 0:
                    plan.append((row, count))
                    left -= count
                    outputs -= row.outputs(count)
        return self._make_room(plan)

    def _whose_turn(self) -> list[Row]:
        """Rows of one adapter set: the interactive ones, or all, or the next set's."""
        now = time.perf_counter()
        urgent = [row for row in self.active if row.interactive]
        others = len(urgent) < len(self.active)
        if urgent and not (others and now - self._others_ran > SHARE_S):
            pool: Sequence[Row] = urgent
        else:
            pool = self.active
            self._others_ran = now
        sets = list(dict.fromkeys(row.adapters for row in pool))
        if not sets:
            return []
        if self._adapters not in sets:
            self._turn_to(sets[0], now)
        elif len(sets) > 1 and now - self._turn_began > SLICE_S:
            self._turn_to(sets[(sets.index(self._adapters) + 1) % len(sets)], now)
        return [row for row in pool if row.adapters == self._adapters and not row.ended]

    def _turn_to(self, adapters: Adapters, now: float) -> None:
        self._turn_began = now
        try:
            self.context.use_adapters(self.load_adapters(adapters))
            self._adapters = adapters
        except LLMOpsError as e:
            for row in [*self.active, *self.waiting]:
                if row.adapters == adapters:
                    row.stop("error", e)

    def _piece(self, row: Row, left: int, outputs: int) -> int:
        """How many tokens a reading row gets: what is left, and no more logits than there is room for."""
        count = min(row.pending, left)
        if row.outputs(count) > outputs:
            count = max(0, row.outputs_from - row.read) + outputs
        if not self.context.capability.parts:
            ahead = [stop for stop in row.stops if stop > row.read]
            count = min([count, *(stop - row.read for stop in ahead)])
        return count

    def _make_room(self, plan: list[tuple[Row, int]]) -> list[tuple[Row, int]]:
        """Free cells for a plan: kept beginnings go first, then the youngest rows that can wait."""
        while sum(count for _, count in plan) > self.context.free_cells:
            if self.prefixes.evict():
                continue
            rest = sorted(self.active, key=lambda r: (not r.interactive, r.number))
            victim = rest[-1] if len(rest) > 1 else None
            if victim is None:
                row = plan[0][0]
                row.stop("error", EngineError("The cache is full. Use a shorter prompt."))
                return []
            self._put_back(victim)
            plan = [(row, count) for row, count in plan if row is not victim]
        return plan

    def _put_back(self, row: Row) -> None:
        """Take a row's cells away; it reads its tokens again when there is room."""
        self.active.remove(row)
        if row.sequence is not None:
            self.context.drop(row.sequence)
            self._free.append(row.sequence)
        row.sequence, row.read, row.waits_for = None, 0, None
        self.waiting.insert(0, row)

    def _compute(self, plan: list[tuple[Row, int]]) -> None:
        pieces = [
            Piece(row.sequence or 0, row.tokens[row.read : row.read + n], row.outputs(n))
            for row, n in plan
        ]
        self.meter.begin()
        began = time.perf_counter()
        try:
            places = self.context.feed(pieces)
        except NoRoomError:
            if self.prefixes.evict():
                return
            self._put_back(max((row for row, _ in plan), key=lambda r: r.number))
            return
        except EngineError as e:
            self._lost(e)
            return
        self.meter.charge(plan)
        for (row, n), piece, place in zip(plan, pieces, places, strict=True):
            self._take(row, n, piece.outputs, place)
        self._note(plan, pieces, time.perf_counter() - began)

    def _take(self, row: Row, count: int, outputs: int, place: int) -> None:
        """Hand a row its logits, and keep the beginnings that others wait for."""
        row.read += count
        self._keep_nodes(row)
        if not outputs:
            return
        first = place + count - outputs
        logits = [self.context.logits(i) for i in range(first, place + count)]
        try:
            row.take(row.read - outputs, logits)
        except LLMOpsError as e:
            row.stop("error", e)
        except Exception as e:  # noqa: BLE001 - the caller gets it; other rows must go on
            error = EngineError(f"The engine failed: {type(e).__name__}: {e}. Run again.")
            error.__cause__ = e
            row.stop("error", error)
        if row.rewind is not None and not row.ended:
            to, row.rewind = row.rewind, None
            row.read = to if self.context.cut(row.sequence or 0, to) else 0

    def _keep_nodes(self, row: Row) -> None:
        for stop in sorted(row.stops) if row.stops else ():
            ready = row.read >= stop if self.context.capability.parts else row.read == stop
            if ready and row.sequence is not None:
                self.prefixes.keep(row.sequence, row.prompt[:stop], row.adapters)
            if row.read >= stop:
                row.stops.discard(stop)

    def _lost(self, error: EngineError) -> None:
        """The cache was emptied by a failure: what was running in it fails, what waits goes on."""
        self.prefixes.forget()
        for row in list(self.active):
            row.stop("error", error)
            self.active.remove(row)
            if row.sequence is not None:
                self._free.append(row.sequence)
                row.sequence = None

    def _note(self, plan: Iterable[tuple[Row, int]], pieces: Sequence[Piece], took: float) -> None:
        fed = sum(len(p.tokens) for p in pieces)
        writing = sum(1 for p in pieces if len(p.tokens) == 1)
        if fed > writing:
            self.pace.note(fed, max(row.read - n for row, n in plan), took)
        if writing:
            rate = writing / took
            before = self.tokens_per_s
            self.tokens_per_s = rate if before is None else 0.9 * before + 0.1 * rate
