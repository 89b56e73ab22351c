"""A run: a variant's answers to rows, with their scores; kept, found again, shown."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError, UnknownNameError, unknown_name
from llmops_jupyter.evaluation import scoring
from llmops_jupyter.evaluation.metrics.metric import Case
from llmops_jupyter.evaluation.scoring import Item, ScoredMetric
from llmops_jupyter.evaluation.summary import Summary, summarise
from llmops_jupyter.prompts.journal import completion_from_json
from llmops_jupyter.records import load_pandas
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    import pandas

SHOWN = 10


@dataclass(frozen=True)
class EvaluationRun:
    """A variant's answers to rows, with their scores.

    Args:
        id: by which it is found again.
        label: of the variant.
        variant: what it was made of, as JSON values.
        variant_key: the hash of what decides its answers.
        data: the data set's reference, or how many rows there were.
        data_name: the data set's name; '' for other rows.
        data_hash: of the rows and their ids.
        expected: the column of expected answers; '' without one.
        repeats: answers for each row.
        items: the answers, row by row.
        metrics: their scores by the metric's name.
        notes: what the user should know.
        resumed: answers that were recorded before.
    """

    id: int
    label: str
    variant: Mapping[str, Any]
    variant_key: str
    data: str
    data_name: str
    data_hash: str
    expected: str
    repeats: int
    items: tuple[Item, ...]
    metrics: Mapping[str, ScoredMetric]
    started_at: str = ""
    notes: tuple[str, ...] = ()
    resumed: int = 0
    cluster: str = ""
    finished: bool = True
    _rows: int = field(default=0, repr=False)

    @property
    def n_rows(self) -> int:
        return len({item.position for item in self.items})

    @property
    def failures(self) -> list[Item]:
        """Answers that are missing."""
        return [item for item in self.items if item.output_id is None]

    def clusters(self) -> list[Hashable] | None:
        """The name of each answer's cluster; None if rows are independent.

        Rows that put the same to the model are one cluster, whatever their ids.
        """
        if not self.cluster:
            asked: list[Hashable] = [item.asked for item in self.items]
            one_each = dict(zip((item.position for item in self.items), asked, strict=True))
            return asked if len(set(asked)) < len(one_each) else None
        return [str(item.case.row.get(self.cluster)) for item in self.items]

    def metric(self, name: str) -> ScoredMetric:
        """The scores by a metric of this name.

        Raises:
            UnknownNameError: the run has none.
        """
        if name in self.metrics:
            return self.metrics[name]
        raise unknown_name("metric", name, self.metrics, f"The run has {', '.join(self.metrics)}.")

    def summary(self, confidence: float = 0.95) -> list[Summary]:
        """Each metric's value with its interval."""
        clusters = self.clusters()
        return [
            summarise(m, self.items, clusters, confidence=confidence) for m in self.metrics.values()
        ]

    def value(self, metric: str) -> float | None:
        """The value of a metric; None if no answer has a score."""
        made = summarise(self.metric(metric), self.items, self.clusters())
        return None if made.estimate is None else made.estimate.value

    def records(self) -> list[dict[str, Any]]:
        """One dictionary an answer: row id, the row, the answer, and a column for each metric."""
        return [self._record(place) for place in range(len(self.items))]

    def worst(self, metric: str | None = None, limit: int = SHOWN) -> list[dict[str, Any]]:
        """The answers that score lowest, or highest where lower is better."""
        chosen = self.metric(metric) if metric else next(iter(self.metrics.values()), None)
        if chosen is None:
            return self.records()[:limit]
        places = [i for i, s in enumerate(chosen.scores) if s.value is not None]
        places.sort(
            key=lambda i: chosen.scores[i].value or 0.0, reverse=not chosen.higher_is_better
        )
        marked = [i for i, s in enumerate(chosen.scores) if s.error]
        return [self._record(i) for i in [*marked, *places][:limit]]

    def to_pandas(self) -> pandas.DataFrame:
        """The records as a DataFrame; needs pandas."""
        frame: pandas.DataFrame = load_pandas().DataFrame(self.records())
        return frame

    def _record(self, place: int) -> dict[str, Any]:
        item = self.items[place]
        record: dict[str, Any] = {"row_id": item.case.row_id}
        if self.repeats > 1:
            record["repetition"] = item.repetition
        record.update(item.case.row)
        made: dict[str, Any] = {"output": item.case.output}
        for metric in self.metrics.values():
            scored = metric.scores[place]
            made[metric.name] = scored.value if scored.value is not None else scored.label
        reasons = [
            f"{m.name}: {m.scores[place].error}"
            for m in self.metrics.values()
            if m.scores[place].error
        ]
        made["error"] = "; ".join(filter(None, [item.error, *reasons]))
        made["trace_id"] = item.trace_id
        for key, value in made.items():
            record[key if key not in record else f"{key}_out"] = value
        return record

    def as_dict(self) -> dict[str, Any]:
        """The run's figures as JSON values."""
        return {
            "id": self.id,
            "variant": self.label,
            "data": self.data,
            "rows": self.n_rows,
            "repeats": self.repeats,
            "failures": len(self.failures),
            "recorded": self.resumed,
            "metrics": [
                {
                    "metric": s.metric,
                    "value": s.estimate.value if s.estimate else None,
                    "interval": [s.estimate.interval.low, s.estimate.interval.high]
                    if s.estimate
                    else None,
                    "scored": s.scored,
                    "missing": dict(s.missing),
                }
                for s in self.summary()
            ],
            "notes": list(self.notes),
        }

    def title(self) -> str:
        """The run on one line."""
        parts = [f"run {self.id}: {self.label} on {self.data}"]
        if self.repeats > 1:
            parts.append(f"{self.repeats} answers a row")
        if self.resumed:
            parts.append(f"{self.resumed} of {len(self.items)} answers recorded before")
        if self.failures:
            parts.append(f"{len(self.failures)} without an answer")
        if not self.finished:
            parts.append("broken off")
        return " · ".join(parts)

    def summary_rows(self) -> list[dict[str, Any]]:
        """The summary as a table for people."""
        return [
            {
                "metric": s.metric,
                "value": s.value_text(),
                "95 % interval": s.interval_text(),
                "answers": s.scored,
                "without a score": "; ".join(f"{n}× {why}" for why, n in s.missing),
            }
            for s in self.summary()
        ]

    def __str__(self) -> str:
        return "\n".join([self.title(), render.text_table(self.summary_rows()), *self.notes])

    def __repr__(self) -> str:
        return f"EvaluationRun({self.title()!r})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:

        lowest = [{k: v for k, v in r.items() if k != "trace_id"} for r in self.worst()]
        name = next(iter(self.metrics), "")
        blocks = [f"<p>{escaped(self.title())}</p>", render.table_html(self.summary_rows())]
        blocks += [f"<p><em>{escaped(note)}</em></p>" for note in self.notes]
        if lowest:
            shown = f"the first {len(lowest)} answers by {name}, worst first" if name else "answers"
            blocks.append(
                f"<details><summary>{escaped(shown)}</summary>{render.table_html(lowest)}</details>"
            )
        return bundle(str(self), "".join(blocks))


def load(store: Store, run_id: int, *, cluster: str = "", answers: bool = True) -> EvaluationRun:
    """A run that was kept, with its scores; without `answers`, their texts are not read, which its figures do not need.

    Raises:
        UnknownNameError: there is none with this number.
    """
    row = store.row("SELECT * FROM evaluation_runs WHERE id = ?", (run_id,))
    if row is None:
        known = [
            str(r[0]) for r in store.rows("SELECT id FROM evaluation_runs ORDER BY id DESC LIMIT 5")
        ]
        raise UnknownNameError(
            f"There is no evaluation run {run_id}. The latest are: {', '.join(known) or 'none'}. "
            "%evaluate list shows them."
        )
    items = load_items(store, run_id, row["expected"], answers=answers)
    metrics = {
        facts["name"]: scoring.recorded(store, facts, items, row["expected"])
        for facts in json.loads(row["metrics"])
    }
    version = row["data_version"]
    name = f"{row['data_name']}@{version}" if row["data_name"] else f"{row['n_rows']} rows"
    return EvaluationRun(
        id=run_id,
        label=row["label"],
        variant=json.loads(row["variant"]),
        variant_key=row["variant_key"],
        data=name,
        data_name=row["data_name"],
        data_hash=row["data_hash"],
        expected=row["expected"],
        repeats=row["repeats"],
        items=tuple(items),
        metrics=metrics,
        started_at=row["started_at"],
        cluster=cluster,
        finished=row["finished_at"] is not None,
    )


def load_items(store: Store, run_id: int, expected: str, *, answers: bool = True) -> list[Item]:
    """The answers of a run; without `answers`, all but their texts."""
    texts = "LEFT JOIN evaluation_outputs o ON o.id = i.output_id " if answers else ""
    rows = store.rows(
        f"SELECT i.*, {'o.completion' if answers else 'NULL AS completion'}, r.row FROM evaluation_items i {texts}"
        "LEFT JOIN dataset_rows r ON r.hash = i.row_hash "
        "WHERE i.run_id = ? ORDER BY i.position, i.repetition",
        (run_id,),
    )
    items = []
    for row in rows:
        if row["row"] is None:
            raise DataError(f"The rows of run {run_id} are no longer in the store. Run it again.")
        values = json.loads(row["row"])
        done = completion_from_json(row["completion"]) if row["completion"] else None
        case = Case(
            row["row_id"],
            values,
            done.text if done is not None else "",
            values.get(expected) if expected else None,
            done,
            row["input"],
        )
        items.append(
            Item(
                row["position"],
                row["repetition"],
                case,
                row["row_hash"],
                row["output_id"],
                row["error"],
            )
        )
    return items


def forget(store: Store, run_id: int) -> int:
    """Delete a run's answers, with their scores and labels, and its rows, where nothing else has them.

    What stays is that it was there, and hashes, by which looks are counted. Returns the number of answers.

    Raises:
        UnknownNameError: there is no such run.
    """
    of_run = "SELECT output_id FROM evaluation_items WHERE run_id = ? AND output_id IS NOT NULL"
    if store.row("SELECT 1 FROM evaluation_runs WHERE id = ?", (run_id,)) is None:
        raise UnknownNameError(f"There is no evaluation run {run_id}. %evaluate list shows them.")
    with store.write() as conn:
        mine = {row[0] for row in conn.execute(of_run, (run_id,))}
        hashes = {
            row[0]
            for row in conn.execute(
                "SELECT row_hash FROM evaluation_items WHERE run_id = ?", (run_id,)
            )
        }
        conn.execute(
            "UPDATE evaluation_items SET output_id = NULL, input = '', error = 'forgotten' WHERE run_id = ?",
            (run_id,),
        )
        conn.execute(
            "UPDATE evaluation_runs SET variant = '{}', label = '(forgotten)', metrics = '[]' WHERE id = ?",
            (run_id,),
        )
        conn.execute(
            "UPDATE comparisons SET result = '{}' WHERE run_a = ? OR run_b = ?", (run_id, run_id)
        )
        gone = 0
        for output_id in mine:
            used = "SELECT 1 FROM evaluation_items WHERE output_id = ? LIMIT 1"
            if conn.execute(used, (output_id,)).fetchone() is None:
                conn.execute("DELETE FROM scores WHERE output_id = ?", (output_id,))
                conn.execute("DELETE FROM evaluation_outputs WHERE id = ?", (output_id,))
                gone += 1
        for row_hash in hashes:
            _forget_row(conn, run_id, row_hash)
    return gone


def _forget_row(conn: sqlite3.Connection, run_id: int, row_hash: str) -> None:
    """Delete a row that no data set and no other run has."""
    used = conn.execute(
        "SELECT 1 FROM dataset_items WHERE row_hash = ? UNION ALL "
        "SELECT 1 FROM evaluation_items WHERE row_hash = ? AND run_id != ? AND output_id IS NOT NULL",
        (row_hash, row_hash, run_id),
    ).fetchone()
    if used is None:
        conn.execute("DELETE FROM dataset_rows WHERE hash = ?", (row_hash,))
