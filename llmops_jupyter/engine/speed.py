"""How fast a model reads and writes on this machine, measured on llama.cpp's own calls.

Three rates, in tokens a second: reading a prompt, writing one answer, and writing 16 answers at once that
share the beginning of their prompts. Each is the median of several repetitions, with the slowest and the
fastest, and a record says how busy other programs kept the processor meanwhile.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import child

if TYPE_CHECKING:
    from llmops_jupyter.engine.context import Context

PROMPT, PREFIX, ROWS, STEPS = 512, 256, 16, 16
FEWEST_TOKENS, FEWEST_STEPS = 64, 4
REPETITIONS, FEWEST_REPETITIONS = 5, 3
# For one rate of one setting; tokens and repetitions are reduced until they fit.
BUDGET_S = 4.0


@dataclass(frozen=True)
class Rate:
    """Tokens a second: median, slowest and fastest of so many repetitions."""

    median: float
    low: float
    high: float
    repetitions: int

    def __str__(self) -> str:
        return f"{self.median:.0f} ({self.low:.0f}–{self.high:.0f})"


@dataclass(frozen=True)
class Setting:
    """Threads that compute, and tokens that are read at a time."""

    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.threads} thread{'s' * (self.threads != 1)}, batch {self.batch}"


@dataclass(frozen=True)
class Speed:
    """The three rates with one setting; `others` is the cores that other programs kept busy."""

    setting: Setting
    reading: Rate
    writing: Rate
    batched: Rate
    others: float

    @property
    def mixture(self) -> float:
        """The geometric mean of the three rates: one that halves counts as much as one that doubles."""
        return statistics.geometric_mean(
            (self.reading.median, self.writing.median, self.batched.median)
        )


def measure(
    path: str | os.PathLike[str],
    settings: Sequence[Setting],
    *,
    progress: Callable[[str], None] | None = None,
    budget_s: float = BUDGET_S,
) -> list[Speed]:
    """Measure a model with each of the settings, in one child process.

    Args:
        path: the model.
        settings: each is measured.
        progress: gets a line for each rate.
        budget_s: seconds for one rate of one setting; less is less certain.

    Raises:
        LLMOpsError: it cannot be loaded, or the process died.
    """
    values = {
        "path": str(Path(path).absolute()),
        "settings": [[s.threads, s.batch] for s in settings],
        "budget_s": budget_s,
    }
    found = child.call(f"{__name__}:measure_here", values, report=progress)
    return [_speed(one) for one in found]


def _speed(values: Mapping[str, Any]) -> Speed:
    return Speed(
        Setting(*values["setting"]),
        reading=Rate(**values["reading"]),
        writing=Rate(**values["writing"]),
        batched=Rate(**values["batched"]),
        others=float(values["others"]),
    )


def measure_here(
    report: child.Report, *, path: str, settings: Sequence[Sequence[int]], budget_s: float
) -> list[dict[str, Any]]:
    """The same in this process; the model is loaded once."""
    from llmops_jupyter.engine import native

    model = native.load_model(Path(path), None)
    size = native.Vocabulary(model).size
    try:
        return [_measured(model, size, Setting(*one), budget_s, report) for one in settings]
    finally:
        native.library().llama_model_free(model)


def _measured(
    model: Any, vocabulary: int, setting: Setting, budget_s: float, report: child.Report
) -> dict[str, Any]:
    from llmops_jupyter.engine.context import Context, Size

    # One more sequence than rows, for the prefix; the library wants room for the logits of each.
    cells, sequences = PROMPT + PREFIX + ROWS * (STEPS + 1), ROWS + 1
    size = Size(ROWS, cells, max(setting.batch, sequences), sequences)
    context = Context(model, size, setting.threads, sequences, vocabulary)
    bench, busy = _Bench(context, vocabulary, budget_s), _Busy()
    try:
        found: dict[str, Any] = {"setting": [setting.threads, setting.batch]}
        for name, rate in (
            ("reading", bench.reading),
            ("writing", lambda: bench.writing(1)),
            ("batched", lambda: bench.writing(ROWS)),
        ):
            report(f"measuring {name} ({setting})")
            found[name] = vars(rate())
        return {**found, "others": busy.others()}
    finally:
        context.free()


class _Bench:
    """Rates of one context. Sequence 0 holds the prefix that the rows share."""

    def __init__(self, context: Context, vocabulary: int, budget_s: float) -> None:
        import numpy as np

        self._context = context
        self._budget_s = budget_s
        self._tokens = np.random.default_rng(0).integers(0, vocabulary, PROMPT).tolist()

    def reading(self) -> Rate:
        def once(tokens: int) -> float:
            self._context.clear()
            return self._read(0, tokens)

        warm = once(FEWEST_TOKENS) / FEWEST_TOKENS
        tokens, repetitions = self._fitting(warm, PROMPT, FEWEST_TOKENS)
        return self._rate(lambda: tokens / once(tokens), repetitions)

    def writing(self, rows: int) -> Rate:
        context = self._context
        context.clear()
        self._read(0, PREFIX)

        def once(steps: int) -> float:
            for row in range(1, rows + 1):
                context.drop(row)
                if not context.copy(0, row, PREFIX):
                    self._read(row, FEWEST_TOKENS)
            return sum(self._step(rows, place) for place in range(steps))

        warm = once(2) / 2
        steps, repetitions = self._fitting(warm, STEPS, FEWEST_STEPS)
        return self._rate(lambda: rows * steps / once(steps), repetitions)

    def _read(self, sequence: int, count: int) -> float:
        """Seconds to read tokens, a batch at a time."""
        from llmops_jupyter.engine.context import Piece

        begun, size = time.perf_counter(), self._context.size.batch
        for start in range(0, count, size):
            tokens = self._tokens[start : min(start + size, count)]
            self._context.feed([Piece(sequence, tokens, 1)])
            # The library may compute in the background until a result is asked for.
            self._context.logits(len(tokens) - 1)
        return time.perf_counter() - begun

    def _step(self, rows: int, place: int) -> float:
        from llmops_jupyter.engine.context import Piece

        pieces = [
            Piece(row, [self._tokens[(place * rows + row) % PROMPT]], 1)
            for row in range(1, rows + 1)
        ]
        begun = time.perf_counter()
        places = self._context.feed(pieces)
        self._context.logits(places[-1])
        return time.perf_counter() - begun

    def _fitting(self, each_s: float, most: int, fewest: int) -> tuple[int, int]:
        """How many to do in a repetition, and how many repetitions, within the budget."""
        for repetitions in (REPETITIONS, FEWEST_REPETITIONS):
            fitting = int(self._budget_s / repetitions / max(each_s, 1e-9))
            if fitting >= most:
                return most, repetitions
        return max(fewest, fitting), FEWEST_REPETITIONS

    def _rate(self, once: Callable[[], float], repetitions: int) -> Rate:
        found: list[float] = []
        begun = time.perf_counter()
        while len(found) < repetitions:
            found.append(once())
            late = time.perf_counter() - begun > self._budget_s
            if late and len(found) >= FEWEST_REPETITIONS:
                break
        return Rate(statistics.median(found), min(found), max(found), len(found))


class _Busy:
    """Cores that other processes kept busy since it was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._all, self._own = self._now()

    def others(self) -> float:
        took = max(time.perf_counter() - self._begun, 1e-9)
        everything, own = self._now()
        return max(0.0, (everything - self._all) - (own - self._own)) / took

    @staticmethod
    def _now() -> tuple[float, float]:
        import psutil

        every = psutil.cpu_times()
        idle = every.idle + getattr(every, "iowait", 0.0)
        # What guests use is counted in `user` already.
        guests = getattr(every, "guest", 0.0) + getattr(every, "guest_nice", 0.0)
        return sum(every) - idle - guests, time.process_time()
