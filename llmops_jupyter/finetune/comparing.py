"""What fine-tuning changed: base and adapter side by side on rows that were not learned from.

Both answer through the engine that serves them. The comparison itself is evaluation's: paired on each row,
with an interval, and careful about looks at the same rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data.examples import Example, Format
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DataError, EngineError
from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
from llmops_jupyter.evaluation.metrics.metric import Case, Metric
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.finetune import job
from llmops_jupyter.finetune.losses import SHOWN, Examples, left_out, losses, read_rows, usable
from llmops_jupyter.finetune.runs import Run
from llmops_jupyter.records import Sampling

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.evaluation import Evaluation

# Answers of at most this many words are to be hit exactly; of longer ones the words in order count.
SHORT = 12
EXACT, LONG = "exact", "rouge-l"
MOST_TOKENS = 1024
Adapters = Sequence[tuple[str, float]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """Base against adapter: on the eval rows, and on a general set that shows what was forgotten.

    Each comparison has the base as `a` and the adapter as `b`. The eval rows chose the best look of the run, so
    that what they show is a little too good; `notes` name rows that were left out.
    """

    run: Run
    evals: Comparisons
    general: Comparison | None = None
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The findings, a line each."""
        lines = [f"on the eval rows, {one.sentence()}" for one in self.evals]
        if self.general is not None:
            lines.append(f"on the general set, {self.general.sentence()}")
        return "\n".join([*lines, *self.notes])

    def as_dict(self) -> dict[str, Any]:
        """The findings as JSON values."""
        return {
            "run": self.run.id,
            "evals": [one.as_dict() for one in self.evals],
            "general": None if self.general is None else self.general.as_dict(),
            "notes": list(self.notes),
        }


def compare(
    run: Run,
    evaluation: Evaluation,
    engine: Engine,
    adapters: Adapters,
    find: Callable[[str], Dataset],
    *,
    metric: Any = None,
    general: Dataset | None = None,
    tell: Tell = lambda _: None,
) -> Outcome:
    """Compare base and adapter of a finished run.

    Args:
        run: with its adapter.
        evaluation: the stage.
        engine: of the base model.
        adapters: (path, scale) of the adapter.
        find: from a reference to the data set.
        metric: of the answers; exact for short ones, else ROUGE-L.
        general: rows that have nothing to do with the task; their loss says what was forgotten.
        tell: told how far it is.

    Raises:
        DataError: the run had no eval rows, and there is no general set; or no row of that can be used.
        EngineError: the folder of the run is gone.
    """
    given = job.Job.read(run.folder)
    form = Format(given.format["kind"], tuple(given.format["columns"]), given.format["system"])
    looked = {s.row for example in job.read_material(run.folder).evals for s in example}
    dataset = find(given.eval_data or given.data)
    examples, faults = usable(
        [(i, form.read(row)) for i, row in dataset.items() if i in looked], engine
    )
    if not examples and general is None:
        why = f"None of its eval rows can be compared on: {'; '.join(faults[:SHOWN])}."
        raise DataError(
            f"{why if looked else 'The run had no eval rows to compare on.'} Name some with --eval when it is run."
        )
    notes = [left_out(faults, "eval rows")]
    rest: Examples = []
    if general is not None:
        rest, found = _general(general, form, engine)
        notes.append(left_out(found, "general set"))
    made: list[Comparison] = []
    if examples:
        made = _on_evals(run, evaluation, engine, adapters, examples, metric, tell)
    outside = None
    if general is not None:
        lost = _with_losses(examples_told(rest), rest, engine, adapters, tell)
        outside = _compared(evaluation, lost, run, LOSS, LOSSES)
    told = tuple(note for note in notes if note)
    return Outcome(run, Comparisons(tuple(made), correction="none"), outside, told)


def _on_evals(
    run: Run,
    evaluation: Evaluation,
    engine: Engine,
    adapters: Adapters,
    examples: Examples,
    metric: Any,
    tell: Tell,
) -> list[Comparison]:
    """The losses of the eval rows compared, and the answers where rows are answered."""
    rows = _with_losses(examples_told(examples), examples, engine, adapters, tell)
    kinds: list[tuple[Any, tuple[str, str]]] = [(LOSS, LOSSES)]
    if all(e.messages for _, e in examples):
        _add_answers(rows, examples, engine, adapters, tell)
        kinds.append((metric or _fitting(examples), ANSWERS))
    return [_compared(evaluation, rows, run, *kind) for kind in kinds]


def _general(dataset: Dataset, form: Format, engine: Engine) -> tuple[Examples, list[str]]:
    """The rows of a general set that can be used, and what is wrong with others.

    Raises:
        DataError: none can.
    """
    read, faults = read_rows(dataset, form)
    found, more = usable(read, engine)
    faults = [*faults, *more]
    if not found:
        raise DataError(
            f"No row of the general set can be used: {'; '.join(faults[:SHOWN])}. Name another one with --general."
        )
    return found, faults


def examples_told(examples: Sequence[tuple[str, Example]]) -> list[dict[str, Any]]:
    """Rows with what is asked and what is wanted, for people."""
    return [{"id": i, "input": e.prompt, "expected": e.answer or e.text} for i, e in examples]


def _number(case: Case) -> float:
    return float(case.output)


LOSS = Metric(
    "loss", each=_number, digest="finetune loss", higher_is_better=False, yes_no=False, unit="nats"
)
LOSSES = ("base loss", "adapter loss")
ANSWERS = ("base answer", "adapter answer")


def _compared(
    evaluation: Evaluation,
    rows: Sequence[Mapping[str, Any]],
    run: Run,
    metric: Any,
    columns: tuple[str, str],
) -> Comparison:
    base, adapted = (
        Variant(column=column, name=name)
        for column, name in zip(columns, (run.model, run.adapter), strict=True)
    )
    found = evaluation.compare(base, adapted, list(rows), metric, expected="expected", final=True)
    assert isinstance(found, Comparison)
    return found


def _fitting(examples: Sequence[tuple[str, Example]]) -> str:
    lengths = [len(e.answer.split()) for _, e in examples]
    return EXACT if statistics.median(lengths) <= SHORT else LONG


def _with_losses(
    rows: list[dict[str, Any]],
    examples: Sequence[tuple[str, Example]],
    engine: Engine,
    adapters: Adapters,
    tell: Tell,
) -> list[dict[str, Any]]:
    """The rows with the loss of the wanted answer, in nats for a token, without and with the adapter."""
    for column, worn in zip(LOSSES, ((), adapters), strict=True):
        tell(f"loss of {len(rows):,} examples, {column.split()[0]}")
        for row, loss in zip(rows, losses(examples, engine, worn), strict=True):
            row[column] = repr(loss)
    return rows


def _add_answers(
    rows: list[dict[str, Any]],
    examples: Sequence[tuple[str, Example]],
    engine: Engine,
    adapters: Adapters,
    tell: Tell,
) -> None:
    """Add the likeliest answers, without and with the adapter."""
    longest = max(engine.count_tokens(e.answer) for _, e in examples)
    sampling = Sampling(temperature=0.0, max_tokens=min(longest * 2 + 16, MOST_TOKENS), seed=0)
    for column, worn in zip(ANSWERS, ((), adapters), strict=True):
        requests = [
            Request(
                str(i),
                messages=e.messages[:-1],
                sampling=sampling,
                adapters=tuple(worn),
                interactive=False,
            )
            for i, (_, e) in enumerate(examples)
        ]
        done = 0
        for event in engine.generate(requests):
            if not isinstance(event, Finished):
                continue
            if event.error is not None:
                raise EngineError(f"An answer could not be made: {event.error}") from event.error
            rows[int(event.request_id)][column] = event.text
            done += 1
            tell(f"{column}s: {done:,} of {len(rows):,}")
