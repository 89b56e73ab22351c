"""Models side by side on the same rows: quality, speed and memory. This is how one chooses a base model."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
from llmops_jupyter.evaluation.rows import EvaluationRows
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.summary import Summary
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.stage import Evaluation

# Columns that are asked as they are where no prompt is named.
ASKED = ("prompt", "question", "input", "text")
METRIC = "icontains"
MEGABYTE = 1024**2
# SQLite before 3.32 takes 999 values in one statement.
STEP = 900


@dataclass(frozen=True)
class ModelFigures:
    """What was measured of a model.

    Args:
        model: its name.
        run: its answers.
        quality: by the first metric.
        tokens_per_s: output tokens of all rows by the seconds in which at least one row ran.
        first_token_s: median time to the first token, in the batch.
        memory: bytes of weights, cache and buffers; None for an endpoint.
        cost: in US dollars; None if it is not known.
        comparison: with the first model; None for that one.
    """

    model: str
    run: EvaluationRun
    quality: Summary
    tokens_per_s: float | None
    first_token_s: float | None
    memory: int | None
    cost: float | None
    comparison: Comparison | None


@dataclass(frozen=True)
class ModelComparison:
    """Models side by side; the first is what the others are compared with."""

    models: tuple[ModelFigures, ...]
    metric: str
    data: str
    comparisons: Comparisons
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One row a model, for people."""
        found = []
        for m in self.models:
            against = m.comparison
            found.append(
                {
                    "model": m.model,
                    self.metric: m.quality.value_text(),
                    "95 % interval": m.quality.interval_text(),
                    "difference": "" if against is None else against.row()["difference"],
                    "interval of it": "" if against is None else against.interval_text(),
                    "verdict": "" if against is None else against.row()["verdict"],
                    "tokens/s": "–" if m.tokens_per_s is None else f"{m.tokens_per_s:.0f}",
                    "first token": "–" if m.first_token_s is None else f"{m.first_token_s:.2f} s",
                    "memory": "–" if m.memory is None else f"{m.memory / MEGABYTE:,.0f} MB",
                    "cost": "" if m.cost is None else f"${m.cost:.2g}",
                }
            )
        if all(m.cost is None for m in self.models):
            for row in found:
                del row["cost"]
        return found

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "metric": self.metric,
            "data": self.data,
            "models": [
                {
                    "model": m.model,
                    "value": m.quality.estimate.value if m.quality.estimate else None,
                    "tokens_per_s": m.tokens_per_s,
                    "first_token_s": m.first_token_s,
                    "memory": m.memory,
                    "cost": m.cost,
                    "run": m.run.id,
                    "comparison": m.comparison.as_dict() if m.comparison else None,
                }
                for m in self.models
            ],
            "notes": list(self.notes),
        }

    def chart(self) -> Any:
        """Quality over speed; the size of a point is the memory."""
        from llmops_jupyter.evaluation.charts import Place, TradeOff

        places = []
        for m in self.models:
            made = m.quality.estimate
            if made is not None and m.tokens_per_s is not None:
                low, high = made.interval.low, made.interval.high
                places.append(Place(m.model, m.tokens_per_s, made.value, low, high, m.memory))
        return TradeOff(places, self.metric, yes_no=self.models[0].quality.yes_no)

    def sentences(self) -> list[str]:
        """What may be said of each model against the first."""
        return [c.sentence() for c in self.comparisons]

    def __str__(self) -> str:
        return "\n".join([render.text_table(self.rows()), *self.sentences(), *self.notes])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        lines = "".join(f"<p>{escaped(text)}</p>" for text in self.sentences())
        notes = "".join(f"<p><em>{escaped(text)}</em></p>" for text in self.notes)
        shown = f"{render.table_html(self.rows())}{lines}{notes}"
        return bundle(str(self), shown)


def compare_models(
    evaluation: Evaluation,
    models: Sequence[str],
    data: Any,
    *,
    memory_of: Callable[[str], int | None],
    prompt: Any = None,
    metric: Any = None,
    progress: Callable[[str], None] | None = None,
    **run: Any,
) -> ModelComparison:
    """Run the same prompt on the same rows with each model.

    Args:
        evaluation: of the workspace.
        models: references; the first is what the others are compared with.
        data: the rows.
        memory_of: bytes that a model takes; None if it is not on this machine.
        prompt: what to ask; None asks the rows' own prompt, question, input or text.
        metric: of the quality; None is whether the answer contains the expected one.
        progress: told how far it is.
        run: as for `Evaluation.run`.

    Raises:
        OptionError: there are fewer than two models, or one is there twice.
        DataError: the rows have nothing to ask or to compare with.
    """
    names = list(models)
    if len(names) < 2 or len(set(names)) != len(names):
        raise OptionError("Name two or more different models. %model list shows what there is.")
    rows = evaluation.rows(data)
    asked, notes = _asked(evaluation, rows, prompt)
    if metric is None and not rows.expected_column(run.get("expected")):
        raise DataError(
            "The rows have no expected answers to compare with. Name a metric (--metric), or the column "
            "that has them (--expected)."
        )
    scored = evaluation.metrics(metric) or evaluation.metrics(METRIC)
    if metric is None:
        notes.append(
            "quality: whether the answer contains the expected one; --metric names another"
        )
    made = [
        evaluation.run(
            Variant(prompt=asked, options={"model": name}, name=name),
            rows,
            scored,
            progress=progress,
            **run,
        )
        for name in names
    ]
    from llmops_jupyter.evaluation.comparing import Question, compare_all

    pairs = [(made[0], other, scored[0].name) for other in made[1:]]
    comparisons = compare_all(evaluation.store, pairs, Question())
    against: list[Comparison | None] = [None, *comparisons]
    figures = tuple(
        _figures(evaluation.store, name, one, memory_of(name), comparison)
        for name, one, comparison in zip(names, made, against, strict=True)
    )
    if any(one.resumed for one in made):
        notes.append(
            "some answers were recorded before: the speed is that of when they were computed"
        )
    return ModelComparison(figures, scored[0].name, rows.ref, comparisons, tuple(notes))


def _asked(evaluation: Evaluation, rows: EvaluationRows, prompt: Any) -> tuple[Any, list[str]]:
    """The prompt, and what is to be said of it."""
    if prompt is not None:
        return prompt, []
    column = next((name for name in ASKED if name in rows.columns), None)
    if column is None:
        raise DataError(
            f"Without a prompt, rows are asked by their column {', '.join(ASKED)}, and there is none of "
            f"these. Name a prompt (--prompt). Columns: {', '.join(rows.columns)}."
        )
    content: Content = evaluation.scratch(f"{{{{ {column} }}}}")
    return content, [f"asked: the column {column!r} as it is; --prompt names a prompt"]


def _figures(
    store: Store, name: str, run: EvaluationRun, memory: int | None, comparison: Comparison | None
) -> ModelFigures:
    done = [i.case.completion for i in run.items if i.case.completion is not None]
    first = [d.timing.first_token_s for d in done if d.timing.first_token_s is not None]
    costs = [d.cost for d in done if d.cost is not None]
    seconds = busy_seconds(store, [i.trace_id for i in run.items if i.trace_id])
    tokens = sum(d.usage.output_tokens for d in done)
    return ModelFigures(
        model=name,
        run=run,
        quality=run.summary()[0],
        tokens_per_s=tokens / seconds if seconds else None,
        first_token_s=plain.median(first) if first else None,
        memory=memory,
        cost=sum(costs) if costs else None,
        comparison=comparison,
    )


def busy_seconds(store: Store, trace_ids: Sequence[str]) -> float:
    """Seconds in which at least one of the traces ran."""
    spans: list[tuple[int, int]] = []
    for begin in range(0, len(trace_ids), STEP):
        some = trace_ids[begin : begin + STEP]
        spans += [
            (row[0], row[1])
            for row in store.rows(
                "SELECT start_ns, end_ns FROM spans WHERE parent_id IS NULL AND end_ns IS NOT NULL "
                f"AND trace_id IN ({','.join('?' * len(some))})",
                tuple(some),
            )
        ]
    total, until = 0, -math.inf
    for start, end in sorted(spans):
        total += max(0, end - int(max(start, until)))
        until = max(until, end)
    return total / 1e9
