"""Foreign spans into the store: each once, whatever is imported again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.tracing import values
from llmops_jupyter.tracing.messages import clean, store_messages
from llmops_jupyter.tracing.otlp.foreign import COLUMNS, ForeignScore, ForeignSpan
from llmops_jupyter.tracing.otlp.linking import Forest, Node, Tree, link
from llmops_jupyter.tracing.search import enqueue, unindex_span
from llmops_jupyter.tracing.tracer import Tracer

FIELDS = (
    *("trace_id", "span_id", "parent_id", "name", "op", "kind", "start_ns", "end_ns"),
    *("first_token_ns", "status", "error_type", "error_message", "input_message"),
    *("output_message", "attributes", "schema_url", "process_id", *COLUMNS),
)
INSERT = f"INSERT INTO spans({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})"
# Scores of the same, of which the latest counts; a trace's own are those of its root.
ROOT = "(SELECT span_id FROM spans r WHERE r.trace_id = scores.trace_id AND r.parent_id IS NULL)"
SAME = (
    "trace_id = ? AND name = ? AND source = ? AND identifier = ? "
    f"AND coalesce(span_id, {ROOT}) IS coalesce(?, {ROOT})"
)
UPDATE = f"UPDATE spans SET {', '.join(f'{name} = ?' for name in FIELDS)} WHERE id = ?"


@dataclass
class Counts:
    """What came of spans."""

    new: int = 0
    completed: int = 0
    known: int = 0
    scores: int = 0
    traces: set[str] = field(default_factory=set)


class Writer:
    """Writes foreign spans, a batch a transaction."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._store = tracer.store
        self._forest = Forest()

    def write(self, spans: Sequence[ForeignSpan]) -> Counts:
        """Write spans: new ones, and whole ones in the place of those that had not ended when they came.

        What was made here is never changed.
        """
        counts = Counts()
        try:
            with self._store.write() as conn:
                process = self._tracer.register_process(conn)
                trees = self._forest.get(conn, dict.fromkeys(s.trace_id for s in spans))
                # Programs write a span when it ends, so that children come first; here they are read in order of start.
                ids = [
                    row
                    for span in sorted(spans, key=lambda span: span.start_ns)
                    if (row := self._one(conn, span, trees[span.trace_id], process, counts))
                ]
                _note_range(conn, ids)
                for trace_id in counts.traces:
                    link(conn, trees[trace_id])
                for span in spans:
                    counts.scores += sum(self._score(conn, score) for score in span.scores)
                self._forest.written(conn)
        except BaseException:
            self._forest.forget()
            raise
        self._tracer.registered()
        return counts

    def _one(
        self, conn: sqlite3.Connection, span: ForeignSpan, tree: Tree, process: str, counts: Counts
    ) -> int:
        """Write one span; its new row, or 0."""
        if span.only_scores:
            return 0
        old = tree.nodes.get(span.span_id)
        if old is not None and (old.native or old.ended or span.end_ns is None):
            counts.known += 1
            return 0
        row = self._row(conn, span, process)
        counts.traces.add(span.trace_id)
        if old is not None:
            unindex_span(conn, old.row)
            conn.execute(UPDATE, (*row, old.row))
            enqueue(conn, old.row)
            old.said = old.parent = span.parent_id
            old.start_ns, old.ended = span.start_ns, True
            counts.completed += 1
            return 0
        made = int(conn.execute(INSERT, row).lastrowid or 0)
        enqueue(conn, made)
        tree.nodes[span.span_id] = Node(
            *(made, span.parent_id, span.parent_id, span.start_ns),
            native=False,
            ended=span.end_ns is not None,
        )
        self._forest.grown()
        counts.new += 1
        return made

    def _row(self, conn: sqlite3.Connection, span: ForeignSpan, process: str) -> tuple[Any, ...]:
        tracer = self._tracer
        given = store_messages(conn, tracer.clean_messages(span.input))
        said = store_messages(conn, tracer.clean_messages(span.output), given)
        message = span.error_message
        get = span.columns.get
        texts = {
            name: tracer.clean_text(value) if isinstance(value := get(name), str) else value
            for name in COLUMNS
        }
        return (
            *(span.trace_id, span.span_id, span.parent_id, tracer.clean_text(span.name)),
            *(clean(span.op), clean(span.kind), span.start_ns, span.end_ns, span.first_token_ns),
            span.status,
            None if span.error_type is None else clean(span.error_type)[:200],
            None if message is None else tracer.clean_text(message)[:2000],
            given if span.input else None,
            said if span.output else None,
            values.fitted(tracer.clean_values(span.attributes))[0],
            *(clean(span.schema_url), process, *texts.values()),
        )

    def _score(self, conn: sqlite3.Connection, score: ForeignScore) -> int:
        """Keep a score, unless it is there; of one span, name, source and identifier the latest is valid."""
        key = (score.trace_id, score.name, score.source, score.identifier, score.span_id)
        rows = conn.execute(f"SELECT at FROM scores WHERE {SAME}", key).fetchall()
        times = [row[0] for row in rows]
        if score.at in times:
            return 0
        valid = all(score.at > at for at in times)
        if valid:
            conn.execute(f"UPDATE scores SET valid = 0 WHERE {SAME}", key)
        conn.execute(
            "INSERT INTO scores(trace_id, span_id, name, value, label, explanation, source, identifier, at, valid) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(score.trace_id, score.span_id, clean(score.name), score.value),
                None if score.label is None else clean(score.label),
                self._tracer.clean_text(score.explanation),
                *(score.source, clean(score.identifier), clean(score.at), int(valid)),
            ),
        )
        return 1


def _note_range(conn: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Note which rows came from elsewhere; a range that goes on is made longer."""
    if not ids:
        return
    now = time.time_ns()
    longer = conn.execute(
        "UPDATE span_imports SET last = ?, at_ns = ? WHERE last = ?", (ids[-1], now, ids[0] - 1)
    )
    if not longer.rowcount:
        conn.execute(
            "INSERT INTO span_imports(first, last, at_ns) VALUES (?, ?, ?)", (ids[0], ids[-1], now)
        )
