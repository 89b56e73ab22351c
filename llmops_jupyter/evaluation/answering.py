"""A variant's answers to rows: recorded ones are taken, others computed and kept at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmops_jupyter.data.values import canonical
from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.evaluation.metrics.functions import source_digest
from llmops_jupyter.evaluation.outputs import Recorded, keeper, output_key
from llmops_jupyter.evaluation.rows import EvaluationRow, EvaluationRows
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.mapping import Progress
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.rows import Rows
from llmops_jupyter.prompts.stage import Prompts
from llmops_jupyter.records import Completion
from llmops_jupyter.tracing import Tracer, names
from llmops_jupyter.tracing.purposes import EVALUATION, purpose

Tell = Callable[[str], None]
# Answers of columns that are kept in one transaction.
TOGETHER = 500
RECORDED = "recorded before"


@dataclass(frozen=True)
class Answers:
    """What a variant answered: by position, with the place of each answer in the store."""

    variant_key: str
    recorded: Recorded
    failures: Mapping[int, str]
    resumed: int


@dataclass(frozen=True)
class Work:
    """What is to be run, and how."""

    variant: Variant
    rows: EvaluationRows
    expected: str = ""
    repeats: int = 1
    fresh: bool = False
    cluster: str = ""
    variables: Mapping[str, Any] | None = None
    on: str | None = None

    def places(self) -> list[tuple[EvaluationRow, int]]:
        """Each row as often as it is answered, with the number of the repetition."""
        return [(row, n) for row in self.rows.rows for n in range(self.repeats)]


class Answering:
    """Gets the answers of one piece of work.

    Args:
        prompts: where prompts are found and run.
        tracer: of the workspace.
        work: what is to be run.
        tell: told how far it is.
    """

    def __init__(self, prompts: Prompts, tracer: Tracer, work: Work, tell: Tell | None) -> None:
        self.prompts = prompts
        self.tracer = tracer
        self.work = work
        self.tell = tell

    def answers(self) -> Answers:
        if self.work.variant.column:
            return self._from_column()
        with purpose(EVALUATION):
            if self.work.variant.function is not None:
                return self._from_function(self.work.variant.function)
            return self._from_prompt()

    def _from_prompt(self) -> Answers:
        variant, places = self.work.variant, self.work.places()
        prompt = prompt_of(variant, self.prompts)
        pairs = [(_name(row, n), row.values) for row, n in places]
        kept: list[tuple[str, Recorded, int]] = []

        def show(progress: Progress) -> None:
            if self.tell is not None:
                self.tell(f"{variant.label}: {progress.text(RECORDED)}")

        table = self.prompts.map(
            prompt,
            Rows(pairs),
            variables=self.work.variables,
            progress=show,
            keep=keeper(
                self.tracer,
                [n for _, n in places],
                fresh=self.work.fresh,
                made=lambda key, recorded: kept.append((key, recorded, len(recorded.done))),
            ),
            on=self.work.on,
            **variant.options,
        )
        key, recorded, resumed = kept[0]
        position = {row_id: i for i, (row_id, _) in enumerate(pairs)}
        failures = {position[f.row_id]: f.error for f in table.failures}
        return Answers(key, recorded, failures, resumed)

    def _from_column(self) -> Answers:
        places, column = self.work.places(), self.work.variant.column
        key = _hash(f"column\n{column}")
        texts = [row.values.get(column) for row, _ in places]
        keys = [
            output_key("given", f"{row.digest}\n{text_of(text)}", n)
            for (row, n), text in zip(places, texts, strict=True)
        ]
        recorded = Recorded(self.tracer, keys, fresh=self.work.fresh)
        resumed, failures = len(recorded.done), {}
        todo = []
        for position, text in enumerate(texts):
            if text is None:
                failures[position] = f"the column {column!r} is empty"
            elif position not in recorded.done:
                todo.append((position, Completion(text_of(text), model="")))
        for begin in range(0, len(todo), TOGETHER):
            recorded.keep_all(todo[begin : begin + TOGETHER])
            if self.tell is not None:
                self.tell(
                    f"{self.work.variant.label}: {min(begin + TOGETHER, len(todo)):,}/{len(todo):,} rows"
                )
        return Answers(key, recorded, failures, resumed)

    def _from_function(self, function: Callable[..., Any]) -> Answers:
        places = self.work.places()
        key = _hash(f"function\n{source_digest(function)}")
        recorded = Recorded(
            self.tracer,
            [output_key(key, row.digest, n) for row, n in places],
            fresh=self.work.fresh,
        )
        resumed, failures = len(recorded.done), {}
        began = time.monotonic()
        for position, (row, _) in enumerate(places):
            if position in recorded.done:
                continue
            try:
                recorded.keep(position, self._call(function, row))
            except LLMOpsError as e:
                failures[position] = str(e)
            except Exception as e:  # noqa: BLE001 - a user's function may raise anything; the run goes on
                failures[position] = f"{type(e).__name__}: {e}"
            if self.tell is not None:
                done = _progress(position + 1, len(places), resumed, len(failures), began)
                self.tell(f"{self.work.variant.label}: {done.text(RECORDED)}")
        return Answers(key, recorded, failures, resumed)

    def _call(self, function: Callable[..., Any], row: EvaluationRow) -> Completion:
        name = getattr(function, "__name__", type(function).__name__)
        with self.tracer.span(
            f"evaluate {name}",
            attributes={
                names.MAP_ROW: row.row_id,
                "llmops.prompt.variables": dict(row.values),
            },
        ) as span:
            made = function(dict(row.values))
            if isinstance(made, Completion):
                return made if made.trace_id else replace(made, trace_id=span.trace_id)
            if not isinstance(made, str):
                raise OptionError(
                    f"{name} returned a {type(made).__name__} for row {row.row_id!r}; it must return a text "
                    "or a Completion."
                )
            span.output(made)
            return Completion(made, trace_id=span.trace_id, model=name)


def prompt_of(variant: Variant, prompts: Prompts) -> PromptVersion | Content:
    """What a variant runs, its reference looked up."""
    if isinstance(variant.prompt, str):
        return prompts.get(variant.prompt)
    assert variant.prompt is not None
    return variant.prompt


def _progress(done: int, total: int, resumed: int, failed: int, began: float) -> Progress:
    elapsed, fresh = time.monotonic() - began, done - resumed
    left = elapsed / fresh * (total - done) if fresh > 0 else None
    return Progress(done, total, resumed, failed, elapsed, left)


def _name(row: EvaluationRow, repetition: int) -> str:
    return row.row_id if not repetition else f"{row.row_id}\x1f{repetition}"


def text_of(value: Any) -> str:
    """A value as an answer: a text as it is, others as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical({"": value})[4:-1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
