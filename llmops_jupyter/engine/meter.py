"""What the rows of a model take of the machine: processor seconds, memory, energy, each row its share.

A step computes tokens of several rows at once, so what it took can only be shared out: each row gets the share of
its tokens in that step. All that the process spent since the step before counts, sampling and planning
included, so that the shares add up to what was spent while rows ran. A row that had every one of its steps
for itself is measured, any other is estimated.

Processor time is that of the whole process. In a worker that is the model alone; in a notebook's own process
(`worker='off'`) it is whatever else runs there in other threads as well.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.engine.energy import Counter, open_counter
from llmops_jupyter.records import Resources

# Memory changes little from step to step, and asking for it takes some 20 microseconds.
MEMORY_EVERY_S = 0.05


@dataclass
class _Account:
    """What a row has taken so far; `weight` is what it ran since energy was read last."""

    busy_s: float = 0.0
    cpu_s: float = 0.0
    energy_j: float = 0.0
    peak: int = 0
    weight: float = 0.0
    shared: bool = False


class Meter:
    """Accounts of rows; for the one thread that computes.

    Args:
        counter: of energy; None where there is none.
        cpu, clock: processor seconds of this process, and seconds.
        memory: resident bytes of this process.
    """

    def __init__(
        self,
        counter: Counter | None = None,
        *,
        cpu: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.perf_counter,
        memory: Callable[[], int] | None = None,
    ) -> None:
        self.counter = counter
        self._cpu, self._clock = cpu, clock
        self._memory = memory or resident_bytes
        self._accounts: dict[Hashable, _Account] = {}
        self._at = self._spent = self._joules = 0.0
        self._joules_at = self._memory_at = float("-inf")
        self._resident = 0

    def begin(self) -> None:
        """Rows are about to be computed: if none was, what was spent since then is nobody's."""
        if not self._accounts:
            self._at, self._spent = self._clock(), self._cpu()
            if self.counter is not None:
                self._joules, self._joules_at = self._read(), self._at

    def charge(self, shares: Sequence[tuple[Hashable, int]]) -> None:
        """Share out what was spent since the last step, by (row, tokens computed)."""
        total = sum(tokens for _, tokens in shares)
        if not total:
            return
        now, spent = self._clock(), self._cpu()
        busy, cpu = max(0.0, now - self._at), max(0.0, spent - self._spent)
        self._at, self._spent = now, spent
        resident = self._resident_at(now)
        for row, tokens in shares:
            account = self._accounts.setdefault(row, _Account())
            part = tokens / total
            account.busy_s += busy * part
            account.cpu_s += cpu * part
            account.weight += busy * part
            account.peak = max(account.peak, resident)
            account.shared = account.shared or len(shares) > 1
        if self.counter is not None and now - self._joules_at >= self.counter.every_s:
            self._share_energy(now)

    def settle(self, row: Hashable) -> Resources | None:
        """Close a row's account; None if nothing was computed for it."""
        account = self._accounts.get(row)
        if account is None:
            return None
        if self.counter is not None and account.weight:
            self._share_energy(self._clock())
        del self._accounts[row]
        counter = self.counter
        return Resources(
            busy_s=account.busy_s,
            cpu_s=account.cpu_s,
            peak_bytes=account.peak or None,
            energy_j=None if counter is None else account.energy_j,
            shared=account.shared,
            energy_source="measured" if counter is None else counter.source,
        )

    def drop(self, row: Hashable) -> None:
        """Forget a row whose account nobody asks for."""
        self._accounts.pop(row, None)

    def _share_energy(self, now: float) -> None:
        """Share out the energy since the last reading by how long each row ran in between."""
        before = self._joules
        self._joules, self._joules_at = self._read(), now
        weight = sum(account.weight for account in self._accounts.values())
        for account in self._accounts.values():
            if weight:
                account.energy_j += (self._joules - before) * account.weight / weight
            account.weight = 0.0

    def _read(self) -> float:
        """The counter; one that cannot be read any more stands still and is asked no longer."""
        assert self.counter is not None
        try:
            return self.counter.joules()
        except (OSError, ValueError):
            self.counter = None
            return self._joules

    def _resident_at(self, now: float) -> int:
        if now - self._memory_at >= MEMORY_EVERY_S:
            self._memory_at, self._resident = now, self._memory()
        return self._resident


# What counts energy for the models of this process; `use` decides.
_counter: Counter | None = None
_kind: str | None = None


def use(kind: str) -> None:
    """Count energy like this from the next model on that is loaded in this process; see `energy.open_counter`."""
    global _counter, _kind
    if kind != _kind:
        _counter, _kind = open_counter(kind), kind


def new_meter() -> Meter:
    """A meter for a model that is loaded in this process."""
    if _kind is None:
        use("auto")
    return Meter(_counter)


def resident_bytes() -> int:
    """Memory that this process holds."""
    return int(_process(os.getpid()).memory_info().rss)


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> Any:
    import psutil

    return psutil.Process(pid)
