"""What fine-tuning changed: base and adapter side by side on rows that were not learned from.

Both answer through the engine that serves them. The comparison itself is evaluation's: paired on each row,
with an interval, and careful about looks at the same rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data.examples import Example, Format, find_format
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DataError, EngineError
from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
from llmops_jupyter.evaluation.metrics.metric import Case, Metric
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.finetune import job
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

    Each comparison has the base as `a` and the adapter as `b`.
    """

    run: Run
    evals: Comparisons
    general: Comparison | None = None

    def sentence(self) -> str:
        """The findings, a line each."""
        lines = [f"on the eval rows, {one.sentence()}" for one in self.evals]
        if self.general is not None:
            lines.append(f"on the general set, {self.general.sentence()}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The findings as JSON values."""
        return {
            "run": self.run.id,
            "evals": [one.as_dict() for one in self.evals],
            "general": None if self.general is None else self.general.as_dict(),
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
        DataError: the run had no eval rows.
        EngineError: the folder of the run is gone.
    """
    given = job.Job.read(run.folder)
    form = Format(given.format["kind"], tuple(given.format["columns"]), given.format["system"])
    looked = {s.row for example in job.read_material(run.folder).evals for s in example}
    dataset = find(given.eval_data or given.data)
    examples = [(i, form.read(row)) for i, row in dataset.items() if i in looked]
    if not examples:
        raise DataError(
            "The run had no eval rows to compare on. Name some with --eval when it is run."
        )
    told = examples_told(examples)
    rows = _with_losses(told, examples, engine, adapters, tell)
    kinds: list[tuple[Any, tuple[str, str]]] = [(LOSS, LOSSES)]
    if all(e.messages for _, e in examples):
        _add_answers(rows, examples, engine, adapters, tell)
        kinds.append((metric or _fitting(examples), ANSWERS))
    made = [_compared(evaluation, rows, run, *kind) for kind in kinds]
    outside = None
    if general is not None:
        other = find_format(general.columns)
        rest = [(i, other.read(row)) for i, row in general.items()]
        lost = _with_losses(examples_told(rest), rest, engine, adapters, tell)
        outside = _compared(evaluation, lost, run, LOSS, LOSSES)
    return Outcome(run, Comparisons(tuple(made), correction="none"), outside)


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
        for row, loss in zip(rows, _losses(examples, engine, worn), strict=True):
            row[column] = repr(loss)
    return rows


def _losses(
    examples: Sequence[tuple[str, Example]], engine: Engine, adapters: Adapters
) -> Iterator[float]:
    chats = [(e.messages[:-1], [e.answer]) for _, e in examples if e.messages]
    texts = [e.text for _, e in examples if not e.messages]
    scored = iter(engine.score(chats, adapters) if chats else [])
    read = iter(engine.logprobs(texts, adapters) if texts else [])
    for _, example in examples:
        if example.messages:
            (logprob,) = next(scored)
            yield -logprob / max(engine.count_tokens(example.answer), 1)
        else:
            yield -float(next(read).mean())


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
