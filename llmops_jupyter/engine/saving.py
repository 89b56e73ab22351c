"""When beginnings of prompts go to disk, and when they come back from there, by what was measured.

A beginning is written once the engine has nothing to do, if reading it took a while and the disk does not
hold most of it. The engine's thread only copies the state, into memory that another thread has made ready,
if it is not set aside in memory anyway; checksum and writing are that thread's. A row takes its beginning from the disk where this saves more time
than it costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_jupyter.engine.aside import Aside, SetAside
from llmops_jupyter.engine.context import Context
from llmops_jupyter.engine.pace import Pace
from llmops_jupyter.engine.prefixes import Adapters, Beginning, Prefix, Prefixes, usable
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.saved import SavedStates
from llmops_jupyter.engine.statefile import Entry
from llmops_jupyter.errors import EngineError
from llmops_jupyter.models import available_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Tokens and seconds of reading below which a beginning is not worth a file.
MIN_TOKENS, MIN_S = 256, 0.3
# A state that is mostly on disk is written again once it has grown by this part, so that a conversation is
# not written whole at every turn.
GROWN = 0.25
# Loading must be faster than reading by this much. Bytes a second until loading was measured.
GAIN = 2.0
RATE = 300e6
KEEP = 0.7
# The part of the free memory that a copy may take.
MEMORY_PART = 4
# Seconds that closing an engine may take for it.
CLOSE_S = 1.5


class Saving:
    """Saves and restores beginnings for one scheduler; all but the writing is for its thread.

    Args:
        context, prefixes, pace: the scheduler's.
        states: the folder.
        identity: what shapes a state with certain adapters, as a hex digest; None if that is not known.
        submit: runs a job on the scheduler's thread when it has time; EngineError once that is closed.
        busy: whether rows wait or run.
        aside: what is set aside, which goes to disk without another copy.
    """

    def __init__(
        self,
        context: Context,
        prefixes: Prefixes,
        pace: Pace,
        states: SavedStates,
        *,
        identity: Callable[[Adapters], str | None],
        submit: Callable[[Callable[[], None]], None],
        busy: Callable[[], bool],
        aside: Aside | None = None,
    ) -> None:
        self.context = context
        self.prefixes = prefixes
        self.pace = pace
        self.states = states
        self._identity = identity
        self._submit = submit
        self._busy = busy
        self._aside = aside
        self._rate = RATE
        self._under_way = False
        self._uncopied: _Job | None = None
        self._writer: threading.Thread | None = None

    # From the disk.

    def restore(self, row: Row, sequence: int, shared: int, promised: int) -> int:
        """Let the empty sequence begin with what the disk holds of a row's prompt.

        Args:
            row: its `prompt` is looked for.
            sequence: of the context.
            shared: tokens of the prompt that the cache holds.
            promised: cells that other rows are going to need.

        Returns:
            How many tokens the sequence holds now: more than `shared`, or 0.
        """
        limit = min(row.outputs_from, len(row.tokens) - 1)
        if limit - shared < MIN_TOKENS:
            return 0
        while (found := self._longest(row, limit, shared)) is not None:
            entry, most = found
            if not self.prefixes.make_room(len(entry.tokens) + len(row.tokens) - most + promised):
                return 0
            began = time.perf_counter()
            state = self.states.read(entry)
            if state is None:
                continue
            if not self.context.load(sequence, state, len(entry.tokens)):
                self.states.drop(entry.path, "was refused by llama.cpp")
                continue
            took = max(time.perf_counter() - began, 1e-6)
            self._rate = KEEP * self._rate + (1 - KEEP) * len(state) / took
            return most if self.context.cut(sequence, most) else 0
        return 0

    def _longest(self, row: Row, limit: int, shared: int) -> tuple[Entry, int] | None:
        """The entry that is worth most, with how many tokens of it can be used."""
        identity = self._identity(row.adapters)
        if identity is None:
            return None
        best, most = None, shared
        for entry in self.states.entries(identity):
            here = usable(self.context.capability, entry.tokens, row.prompt, limit)
            shorter = best is not None and len(entry.tokens) < len(best.tokens)
            if here > most or (here == most and shorter):
                best, most = entry, here
        if best is None or most - shared < MIN_TOKENS:
            return None
        reading = self.pace.seconds(shared, most)
        if reading is None:
            reading = best.seconds * (most - shared) / len(best.tokens)
        if reading < GAIN * best.state_bytes / self._rate or not _fits(best.state_bytes):
            return None
        return best, most

    def _usable(self, held: NDArray[np.int32], tokens: NDArray[np.int32]) -> int:
        return usable(self.context.capability, held, tokens, len(held))

    # To the disk.

    def step(self) -> None:
        """Begin to save a beginning that is worth it, if there is one; for when nothing else is to do."""
        if self._under_way:
            return
        for beginning in self._unweighed():
            beginning.weighed = True
            job = self._weigh(beginning)
            if job is None:
                continue
            self._under_way = True
            if isinstance(beginning, SetAside):
                self._start(functools.partial(self._write, job, beginning.state))
            else:
                self._uncopied = job
                self._start(functools.partial(self._make_ready, job))
            return

    def close(self) -> None:
        """Save what is left, as far as it takes a moment only, and end the writing."""
        deadline = time.monotonic() + CLOSE_S
        if self._writer is not None:
            self._writer.join(CLOSE_S)
        if self._uncopied is not None:
            self._uncopied.beginning.weighed = False
        for beginning in self._unweighed():
            left = deadline - time.monotonic()
            job = self._weigh(beginning)
            if job is not None and job.size < left * self._rate:
                if isinstance(beginning, SetAside):
                    job.write(self.states, beginning.state)
                elif self.context.save(beginning.sequence, state := _memory(job.size)):
                    job.write(self.states, state)

    def _unweighed(self) -> list[Prefix | SetAside]:
        held: list[Prefix | SetAside] = list(self.prefixes.kept)
        if self._aside is not None:
            held += self._aside.entries
        return [beginning for beginning in held if not beginning.weighed]

    def _weigh(self, beginning: Prefix | SetAside) -> _Job | None:
        """What is to be done to save a beginning; None if it is not worth it."""
        tokens = beginning.tokens
        identity = self._identity(beginning.adapters) if len(tokens) >= MIN_TOKENS else None
        if identity is None or beginning.made < self.states.cleared_at():
            return None
        entries = self.states.entries(identity)
        covered = max((self._usable(e.tokens, tokens) for e in entries), default=0)
        new, whole = self.pace.seconds(covered, len(tokens)), self.pace.seconds(0, len(tokens))
        if new is None or whole is None or new < max(MIN_S, GROWN * whole):
            return None
        if isinstance(beginning, SetAside):
            size = len(beginning.state)
        else:
            size = self.context.state_bytes(beginning.sequence)
            if not _fits(size):
                return None
        if not size or new < GAIN * size / self._rate or size > self.states.most:
            return None
        replaced = [e for e in entries if self._replaces(tokens, e.tokens)]
        return _Job(beginning, identity, size, whole, replaced)

    def _replaces(self, new: NDArray[np.int32], old: NDArray[np.int32]) -> bool:
        """Whether what only the old state holds is not worth a file."""
        alone = self.pace.seconds(self._usable(new, old), len(old))
        return alone is not None and alone < MIN_S

    def _make_ready(self, job: _Job) -> None:
        """On the writer's thread: memory, then the copy is asked for."""
        state = _memory(job.size)
        # Touched here: the system gives memory when it is first written to, which takes longer than a copy.
        ctypes.memset(state.ctypes.data, 0, len(state))
        try:
            self._submit(lambda: self._copy(job, state))
        except EngineError:
            self._under_way = False

    def _copy(self, job: _Job, state: NDArray[np.uint8]) -> None:
        """On the scheduler's thread; a row that has come in the meantime goes first."""
        self._uncopied = None
        self._under_way = False
        prefix = next((kept for kept in self.prefixes.kept if kept is job.beginning), None)
        if prefix is None:
            return
        if self._busy():
            prefix.weighed = False
            return
        if self.context.state_bytes(prefix.sequence) == job.size:
            self._under_way = self.context.save(prefix.sequence, state)
        if self._under_way:
            self._start(functools.partial(self._write, job, state))

    def _write(self, job: _Job, state: NDArray[np.uint8]) -> None:
        """On the writer's thread."""
        job.write(self.states, state)
        self._under_way = False
        # The next beginning may be waiting for its turn.
        with contextlib.suppress(EngineError):
            self._submit(lambda: None)

    def _start(self, work: Callable[[], None]) -> None:
        writer = threading.Thread(
            target=self._guarded, args=(work,), name="llmops-save", daemon=True
        )
        try:
            writer.start()
        except RuntimeError:  # no thread is to be had, as while the interpreter shuts down
            self._under_way = False
        else:
            self._writer = writer

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as e:  # noqa: BLE001 - the answers must not suffer
            self.states.note(f"A beginning of a prompt was not saved: {type(e).__name__}: {e}.")
            self._under_way = False


class _Job:
    """A beginning on its way to disk, with the entries that are of no use once it is there."""

    def __init__(
        self, beginning: Beginning, identity: str, size: int, seconds: float, replaced: list[Entry]
    ) -> None:
        self.beginning = beginning
        self.size = size
        self._identity = identity
        self._tokens, self._made = beginning.tokens.copy(), beginning.made
        self._seconds = seconds
        self._replaced = replaced

    def write(self, states: SavedStates, state: NDArray[np.uint8]) -> None:
        kept = states.write(self._identity, self._tokens, state, self._seconds, self._made)
        if kept is not None:
            for entry in self._replaced:
                states.drop(entry.path)


def _memory(size: int) -> NDArray[np.uint8]:
    import numpy as np

    return np.empty(size, dtype=np.uint8)


def _fits(size: int) -> bool:
    return MEMORY_PART * size <= available_memory().bytes
