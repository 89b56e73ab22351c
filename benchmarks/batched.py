"""Our side of many prompts: the engine in its worker as users get it, and a traced map over rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import llmops_jupyter as lo
from benchmarks.workload import MADE, Batch, Workload, as_options, check
from llmops_jupyter.engine.protocol import Finished, Request

TEMPLATE = "system: {{ system }}\nuser: {{ question }}"


def messages(system: str, question: str) -> tuple[lo.Message, ...]:
    return (lo.Message("system", system), lo.Message("user", question))


class Ours:
    """A workspace with a model of it loaded in its worker."""

    def __init__(self, ws: Any, model: str, workload: Workload) -> None:
        self.ws, self.model = ws, model
        self.engine = ws.engine.engine(model)
        self._ends = workload.ends

    def generate(self, batch: Batch) -> float:
        """Tokens per second of `engine.generate`."""
        began = time.perf_counter()
        found = list(self._finished(batch.pairs, MADE))
        seconds = time.perf_counter() - began
        found.sort(key=lambda event: int(event.request_id))
        usages = [event.usage for event in found]
        self._check("engine.generate", batch, usages)
        return MADE * len(found) / seconds

    def map(self, batch: Batch) -> float:
        """Tokens per second of `ws.prompts.map`, with a trace of each row."""
        rows = [dict(zip(("system", "question"), pair, strict=True)) for pair in batch.pairs]
        options = {**as_options(self._ends), "model": self.model}
        began = time.perf_counter()
        table = self.ws.prompts.map(self.ws.prompts.scratch(TEMPLATE), rows, **options)
        seconds = time.perf_counter() - began
        self._check("prompts.map", batch, [completion.usage for completion in table])
        return MADE * len(table) / seconds

    def steps(self, batch: Batch, skip: int, count: int) -> float:
        """Tokens per second of decode steps alone, the first `skip` left out.

        It is the difference between two runs that differ in the length of the answers only. The shared
        beginning is read before.
        """
        list(self._finished(batch.pairs, 1))
        seconds = []
        for made in (skip, skip + count):
            began = time.perf_counter()
            found = list(self._finished(batch.pairs, made))
            seconds.append(time.perf_counter() - began)
            if any(event.usage.output_tokens != made for event in found):
                raise RuntimeError(f"a row has not written {made} tokens")
        return len(batch.pairs) * count / (seconds[1] - seconds[0])

    def _finished(self, pairs: Sequence[tuple[str, str]], made: int) -> Iterator[Finished]:
        sampling = lo.Sampling(**{**as_options(self._ends), "max_tokens": made})
        requests = (
            Request(str(i), messages(*pair), sampling=sampling, interactive=False)
            for i, pair in enumerate(pairs)
        )
        for event in self.engine.generate(requests):
            if isinstance(event, Finished):
                if event.error is not None:
                    raise event.error
                yield event

    def _check(self, what: str, batch: Batch, usages: Sequence[lo.Usage]) -> None:
        read, made = ([getattr(u, n) for u in usages] for n in ("input_tokens", "output_tokens"))
        check(f"{what} with {self.model}", batch, read, made)
