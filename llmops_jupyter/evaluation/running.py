"""Runs a variant on rows: answers first, then scores. Everything that was computed is kept at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llmops_jupyter.data.values import canonical
from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation import scoring
from llmops_jupyter.evaluation.answering import Answering, Answers, Tell, Work, prompt_of, text_of
from llmops_jupyter.evaluation.metrics.metric import Case, Engines, Metric
from llmops_jupyter.evaluation.rows import EvaluationRow
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.prompts.grounding import last_asked, question_of, with_place
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.stage import Prompts
from llmops_jupyter.prompts.template import fill
from llmops_jupyter.tracing import Tracer
from llmops_jupyter.tracing.process import this_process


def check_work(work: Work, metrics: Sequence[Metric]) -> None:
    """Raise what can be known to be wrong before anything is computed."""
    if not isinstance(work.repeats, int) or isinstance(work.repeats, bool) or work.repeats < 1:
        raise OptionError(f"repeat is a whole number from 1, not {work.repeats!r}.")
    names = [m.name for m in metrics]
    double = next((n for n in names if names.count(n) > 1), None)
    if double:
        raise OptionError(
            f"The metric {double!r} is there twice. Leave one out, or give it another name."
        )
    if work.variant.column:
        work.rows.column(work.variant.column, "The variant")
    if work.cluster:
        work.rows.column(work.cluster, "cluster")
    for metric in metrics:
        if metric.needs_expected and not work.expected:
            raise OptionError(
                f"The metric {metric.name!r} compares with an expected answer, and the rows have no column "
                f"'expected'. Name the one that has it: --expected COLUMN (expected=… in Python). Columns: "
                f"{', '.join(work.rows.columns)}."
            )


# Scores of a judge from which its correlation with length is told.
SWAYED = 20


class Runner:
    """Runs variants in one workspace."""

    def __init__(self, prompts: Prompts, tracer: Tracer, engines: Engines) -> None:
        self.prompts = prompts
        self.tracer = tracer
        self.store = tracer.store
        self.engines = engines

    def run(self, work: Work, metrics: Sequence[Metric], tell: Tell | None = None) -> EvaluationRun:
        """The run, with its scores. A call that is broken off goes on where it stopped.

        Raises:
            LLMOpsError: nothing can be run or scored.
            KeyboardInterrupt: what is there is kept; the same call goes on from there.
        """
        check_work(work, metrics)
        answers = Answering(self.prompts, self.tracer, work, tell).answers()
        items = self._items(work, answers)
        run_id = self._begin(work, answers, items)
        scored = [
            scoring.score(self.store, metric, items, self.engines, work.expected, tell)
            for metric in metrics
        ]
        self._finish(run_id, scored)
        return EvaluationRun(
            id=run_id,
            label=work.variant.label,
            variant=self._facts(work.variant),
            variant_key=answers.variant_key,
            data=work.rows.ref,
            data_name=work.rows.name,
            data_hash=work.rows.content_hash,
            expected=work.expected,
            repeats=work.repeats,
            items=tuple(items),
            metrics={m.name: m for m in scored},
            started_at=self.store.now(),
            notes=(*_alike(items, work.repeats), *_notes(scored, items)),
            resumed=answers.resumed,
            cluster=work.cluster,
        )

    def add_metrics(
        self, run: EvaluationRun, metrics: Sequence[Metric], tell: Tell | None = None
    ) -> EvaluationRun:
        """The run with further metrics."""
        scored = [
            scoring.score(self.store, metric, run.items, self.engines, run.expected, tell)
            for metric in metrics
        ]
        every = {**run.metrics, **{m.name: m for m in scored}}
        self._finish(run.id, list(every.values()))
        return replace(run, metrics=every, notes=(*run.notes, *_notes(scored, run.items)))

    def _facts(self, variant: Variant) -> dict[str, Any]:
        """What a variant is, as JSON values."""
        if variant.column:
            return {"column": variant.column}
        if variant.function is not None:
            return {"function": variant.label}
        prompt = prompt_of(variant, self.prompts)
        found: dict[str, Any] = {
            "options": json.loads(json.dumps(dict(variant.options), default=str))
        }
        if isinstance(prompt, PromptVersion):
            return {"prompt": prompt.ref, **found}
        return {"content": prompt.as_dict(), **found}

    def _items(self, work: Work, answers: Answers) -> list[Item]:
        asked = self._asked(work)
        items = []
        for position, (row, n) in enumerate(work.places()):
            done = answers.recorded.done.get(position)
            failed = answers.failures.get(position)
            if failed is not None:
                done = None
            case = Case(
                row.row_id,
                row.values,
                done.text if done is not None else "",
                row.values.get(work.expected) if work.expected else None,
                done,
                asked(row),
            )
            output_id = answers.recorded.ids.get(position) if failed is None else None
            items.append(
                Item(position // work.repeats, n, case, row.digest, output_id, failed or "")
            )
        return items

    def _asked(self, work: Work) -> Callable[[EvaluationRow], str]:
        """What a row asks: the last message of the user, or its `input` or `question`."""
        if work.variant.prompt is None:
            return lambda row: text_of(
                next((row.values[n] for n in ("input", "question") if row.values.get(n)), "")
            )
        content = prompt_of(work.variant, self.prompts)
        template = content.template
        shared = dict(work.variables or {})
        has_documents = work.variant.options.get("rag") is not None

        def asked(row: EvaluationRow) -> str:
            values = {**shared, **row.values}
            messages = fill(template, with_place(values, has_documents))
            said = question_of(template, values) if has_documents else ""
            return said or last_asked(messages)

        return asked

    def _begin(self, work: Work, answers: Answers, items: Sequence[Item]) -> int:
        """Keep the run and which answers are its own, in one transaction."""
        where = self.tracer.provenance() if self.tracer.provenance is not None else None
        variant = json.dumps(self._facts(work.variant), ensure_ascii=False)
        with self.store.write() as conn:
            process = self.tracer.register_process(conn)
            cursor = conn.execute(
                "INSERT INTO evaluation_runs(variant, variant_key, label, data_name, data_version, "
                "data_hash, expected, metrics, repeats, n_rows, notebook, cell_id, process_id, "
                "started_at) VALUES (?, ?, ?, ?, ?, ?, ?, '[]', ?, ?, ?, ?, ?, ?)",
                (
                    *(variant, answers.variant_key, work.variant.label, work.rows.name),
                    *(work.rows.version, work.rows.content_hash, work.expected, work.repeats),
                    *(len(work.rows.rows), where.notebook if where else None),
                    *(where.cell_id if where else None, process or this_process().id),
                    self.store.now(),
                ),
            )
            run_id = int(cursor.lastrowid or 0)
            conn.executemany(
                "INSERT OR IGNORE INTO dataset_rows(hash, row) VALUES (?, ?)",
                ((row.digest, canonical(row.values)) for row in work.rows.rows),
            )
            conn.executemany(
                "INSERT INTO evaluation_items(run_id, position, repetition, row_id, row_hash, "
                "output_id, input, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        *(run_id, i.position, i.repetition, i.case.row_id, i.row_hash, i.output_id),
                        *(self.tracer.clean_text(i.case.input), i.error),
                    )
                    for i in items
                ),
            )
        self.tracer.registered()
        return run_id

    def _finish(self, run_id: int, scored: Sequence[scoring.ScoredMetric]) -> None:
        metrics = json.dumps([m.as_dict() for m in scored], ensure_ascii=False)
        with self.store.write() as conn:
            conn.execute(
                "UPDATE evaluation_runs SET metrics = ?, finished_at = ? WHERE id = ?",
                (metrics, self.store.now(), run_id),
            )


def _notes(scored: Sequence[scoring.ScoredMetric], items: Sequence[Item]) -> list[str]:
    """What a reader must know of metrics that did not score everything."""
    notes = []
    for metric in scored:
        failed = [s for s in metric.scores if s.error]
        if failed:
            notes.append(
                f"{metric.name} failed on {len(failed)} answers, for instance: {failed[0].error}"
            )
        silent = [
            s for s in metric.scores if s.value is None and not s.error and s.label == "abstains"
        ]
        if silent and len(silent) == len(metric.scores):
            notes.append(f"{metric.name} decided nothing: {silent[0].explanation}")
        if metric.source == "judge":
            notes += _length_bias(metric, items)
    return notes


def _alike(items: Sequence[Item], repeats: int) -> list[str]:
    """Repetitions that say nothing are told."""
    answers: dict[int, set[str]] = {}
    for item in items:
        answers.setdefault(item.position, set()).add(item.case.output)
    if repeats == 1 or any(len(found) > 1 for found in answers.values()):
        return []
    return [
        (
            f"all {repeats} answers of each row are the same: nothing is drawn at temperature 0, so repeating says "
            "nothing"
        )
    ]


def _length_bias(metric: scoring.ScoredMetric, items: Sequence[Item]) -> list[str]:
    """A judge that may go by the length of answers is told."""
    if sum(s.value is not None for s in metric.scores) < SWAYED:
        return []
    from llmops_jupyter.evaluation.judges.bias import length_correlation

    found = length_correlation([item.case for item in items], metric.scores)
    if found is None or 0 in found.interval:
        return []
    low, high = found.interval.low, found.interval.high
    return [
        (
            f"{metric.name} goes with the length of answers (rank correlation {found.value:+.2f}, {low:+.2f} to "
            f"{high:+.2f}): longer ones are better, or seem so to it"
        )
    ]
