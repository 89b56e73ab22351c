"""Traces of other programs into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.tracing.otlp.files import records
from llmops_jupyter.tracing.otlp.foreign import ForeignSpan, UnreadableError
from llmops_jupyter.tracing.otlp.reading import spans_of
from llmops_jupyter.tracing.otlp.writing import Writer
from llmops_jupyter.tracing.tracer import Tracer

# Of one transaction.
MOST_SPANS, MOST_CHARACTERS = 200, 4_000_000
FAULTS_SHOWN = 100
FAULTS_SAID = 3


@dataclass(frozen=True)
class Fault:
    """Something in a source that is no span: where it stands, and why."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Args:
        spans: new ones.
        traces: that these are of.
        completed: spans that had not ended when they came before, and have now.
        known: spans that were there already.
        scores: new ones.
        skipped: records and spans that could not be read.
        faults: why, of the first hundred.
        seconds: that it took.
    """

    spans: int
    traces: int
    completed: int
    known: int
    scores: int
    skipped: int
    faults: tuple[Fault, ...]
    seconds: float

    def sentence(self) -> str:
        """What came of it, on one line."""
        said = [f"{self.spans:,} spans of {self.traces:,} traces imported in {self.seconds:.1f} s"]
        for count, what in (
            (self.completed, "completed"),
            (self.known, "were there already"),
            (self.scores, "scores"),
            (self.skipped, "could not be read and were skipped"),
        ):
            if count:
                said.append(f"{count:,} {what}")
        return " · ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        faults = [vars(fault) for fault in self.faults]
        return {**vars(self), "faults": faults}

    def __str__(self) -> str:
        return self.sentence()


class Import:
    """One import into the store of a tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._writer = Writer(tracer)
        self._faults: list[Fault] = []
        self._skipped = 0
        self._counts = {"new": 0, "completed": 0, "known": 0, "scores": 0}
        self._traces = 0

    def run(
        self, source: Any, *, strict: bool = False, progress: Callable[[int], None] | None = None
    ) -> Imported:
        """Import a source; see `Traces.import_`."""
        began = time.monotonic()
        if strict:
            source = self._looked_through(source)
        seen: set[str] = set()
        for batch in _batches(self._spans(source)):
            made = self._writer.write(batch)
            for name in self._counts:
                self._counts[name] += getattr(made, name)
            self._traces += len(made.traces - seen)
            # A trace lies close together in a file; those of a batch are remembered for the next one.
            seen = made.traces
            if progress is not None:
                progress(self._counts["new"] + self._counts["known"] + self._counts["completed"])
        counts = self._counts
        return Imported(
            *(counts["new"], self._traces, counts["completed"], counts["known"]),
            *(counts["scores"], self._skipped, tuple(self._faults)),
            time.monotonic() - began,
        )

    def _looked_through(self, source: Any) -> Any:
        """The source, if all of it can be read.

        Raises:
            DataError: it cannot; nothing was written.
        """
        if isinstance(source, Iterator):
            source = list(source)
        for _ in self._spans(source):
            pass
        if self._skipped:
            first = "; ".join(map(str, self._faults[:FAULTS_SAID]))
            raise DataError(
                f"{self._skipped:,} records or spans cannot be read, so nothing was imported. {first}. Mend them, or import "
                "without strict, which skips them."
            )
        return source

    def _spans(self, source: Any) -> Iterator[ForeignSpan]:
        for where, record in _records(source):
            if isinstance(record, UnreadableError):
                self._fault(where, record)
                continue
            try:
                for number, found in enumerate(spans_of(record), 1):
                    if isinstance(found, UnreadableError):
                        self._fault(f"{where}, span {number}", found)
                    else:
                        yield found
            except UnreadableError as e:
                self._fault(where, e)

    def _fault(self, where: str, error: UnreadableError) -> None:
        self._skipped += 1
        if len(self._faults) < FAULTS_SHOWN:
            self._faults.append(Fault(where, str(error)))


def _records(source: Any) -> Iterator[tuple[str, Any]]:
    """Records with where they stand; of several files, in which."""
    paths = source if isinstance(source, list | tuple) else ()
    if len(paths) > 1 and all(isinstance(p, str | Path) for p in paths):
        for path in paths:
            for where, record in records(path):
                yield f"{Path(path).name}, {where}", record
    else:
        yield from records(source)


def _batches(spans: Iterable[ForeignSpan]) -> Iterator[list[ForeignSpan]]:
    batch: list[ForeignSpan] = []
    weight = 0
    for span in spans:
        batch.append(span)
        weight += span.weight
        if len(batch) >= MOST_SPANS or weight >= MOST_CHARACTERS:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch
