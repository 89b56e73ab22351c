"""A prompt over many rows: batched, traced row by row, resumed where an earlier run was broken off."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.prompts.run import (
    Answer,
    chat_span,
    finish_answer,
    finish_root,
    make_completion,
    root_span,
    take,
)
from llmops_jupyter.records import Completion, Failure, Hit, Table, Timing, Usage
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Span, Tracer, current_span
from llmops_jupyter.tracing.process import is_dead, this_process


@dataclass(frozen=True)
class Progress:
    """How far a map is; `remaining_s` is estimated from the rows done in this run."""

    done: int
    total: int
    resumed: int
    failed: int
    elapsed_s: float
    remaining_s: float | None

    def __str__(self) -> str:
        parts = [f"{self.done}/{self.total} rows"]
        if self.resumed:
            parts.append(f"{self.resumed} from the run that was broken off")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.remaining_s is not None and self.done < self.total:
            parts.append(f"about {duration(self.remaining_s)} left")
        else:
            parts.append(duration(self.elapsed_s))
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """A time span for people: seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Journal:
    """Finished rows of an unfinished map, kept so that a killed one goes on.

    A map is the same if prompt content, model, settings and rows are. A finished one is not resumed:
    running it again runs it anew. Nor is one that another living process works on.
    """

    def __init__(self, store: Store, key: str, total: int) -> None:
        self.store = store
        self.done: dict[int, Completion] = {}
        found = None
        for row in store.rows(
            "SELECT r.id, p.* FROM map_runs r LEFT JOIN processes p ON p.id = r.process_id "
            "WHERE r.key = ? AND r.finished_at IS NULL ORDER BY r.id DESC",
            (key,),
        ):
            mine = row["pid"] is None or row[1] == this_process().id
            if mine or is_dead(row):
                found = row[0]
                break
        with store.write() as conn:
            if found is None:
                cursor = conn.execute(
                    "INSERT INTO map_runs(key, total, process_id, started_at) VALUES (?, ?, ?, ?)",
                    (key, total, this_process().id, store.now()),
                )
                self.id = int(cursor.lastrowid or 0)
                return
            self.id = found
            conn.execute(
                "UPDATE map_runs SET process_id = ? WHERE id = ?", (this_process().id, found)
            )
        for row in store.rows(
            "SELECT position, completion FROM map_rows WHERE run_id = ?", (self.id,)
        ):
            self.done[row[0]] = completion_from_json(row[1])

    def keep(self, position: int, done: Completion) -> None:
        with self.store.write() as conn:
            conn.execute(
                "INSERT OR REPLACE INTO map_rows(run_id, position, completion) VALUES (?, ?, ?)",
                (self.id, position, completion_to_json(done)),
            )

    def finish(self) -> None:
        """The map is complete: its rows are in the traces, the journal's copies go."""
        with self.store.write() as conn:
            conn.execute(
                "UPDATE map_runs SET finished_at = ? WHERE id = ?", (self.store.now(), self.id)
            )
            conn.execute("DELETE FROM map_rows WHERE run_id = ?", (self.id,))


def map_key(prepared: Prepared, rows: Sequence[Mapping[str, Any]]) -> str:
    """What makes two maps the same work."""
    options = prepared.options
    parts = [
        prepared.content.digest,
        prepared.engine.model_digest,
        json.dumps(asdict(options.sampling), sort_keys=True),
        json.dumps(options.adapters),
        json.dumps([dict(r) for r in rows], sort_keys=True, default=str),
    ]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


@dataclass
class _Row:
    position: int
    prepared: Prepared
    root: Span
    chat: Span
    answer: Answer
    thinking: bool


class Map:
    """The state of a running map."""

    def __init__(
        self,
        tracer: Tracer,
        prepare_row: Callable[[Mapping[str, Any]], Prepared],
        rows: Sequence[Mapping[str, Any]],
        row_ids: Sequence[str],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.tracer = tracer
        self.prepare_row = prepare_row
        self.rows = rows
        self.row_ids = row_ids
        self.progress = progress
        self.results: dict[int, Completion] = {}
        self.failures: dict[int, str] = {}
        self.open: dict[str, _Row] = {}
        self.second: list[_Row] = []
        self.resumed = 0
        self.began = time.monotonic()

    def run(self) -> Table:
        """All rows, in their order.

        Raises:
            KeyboardInterrupt: finished rows are kept; the same call goes on from there.
        """
        if not self.rows:
            return Table((), (), ())
        first = self.prepare_row(self.rows[0])
        journal = Journal(self.tracer.store, map_key(first, self.rows), len(self.rows))
        self.results = {i: _resumed(first, done) for i, done in journal.done.items()}
        self.resumed = len(journal.done)
        self._report()
        error: BaseException | None = None
        try:
            self._generate(first.engine, journal)
        except BaseException as e:
            error = e
            raise
        finally:
            for row in [*self.open.values(), *self.second]:
                self._close(row, error)
        if not self.failures:
            journal.finish()
        failures = [Failure(self.row_ids[i], why) for i, why in sorted(self.failures.items())]
        done = [self.results[i] for i in range(len(self.rows))]
        return Table(done, self.rows, self.row_ids, failures)

    def _generate(self, engine: Any, journal: Journal) -> None:
        # A second pass writes the answers of rows that have reasoned.
        for requests in (self._first_requests(), self._second_requests()):
            events = iter(engine.generate(requests))
            try:
                for event in events:
                    row = self.open[event.request_id]
                    if isinstance(event, Token):
                        row.chat.first_token()
                        self._add(row, event.text)
                    elif isinstance(event, Finished):
                        self._finish(row, event, journal)
            finally:
                close = getattr(events, "close", None)
                if callable(close):
                    close()

    def _first_requests(self) -> Iterator[Request]:
        for position, variables in enumerate(self.rows):
            if position in self.results:
                continue
            prepared = self.prepare_row(variables)
            request = _row_request(prepared, position)
            root = root_span(self.tracer, prepared, request)
            root.set("llmops.map.row_id", self.row_ids[position])
            root.begin(current_span())
            request = replace(request, trace_id=root.trace_id)
            thinking = prepared.content.cot and prepared.content.schema is None
            chat = chat_span(self.tracer, prepared, request).begin(root)
            self.open[request.id] = _Row(position, prepared, root, chat, Answer(), thinking)
            yield request

    def _second_requests(self) -> Iterator[Request]:
        while self.second:
            row = self.second.pop(0)
            row.thinking = False
            row.answer.reasoning = row.answer.reasoning.strip()
            request = replace(
                row.prepared.request,
                id=str(row.position),
                prefill=f"{row.answer.reasoning}\n{reasoning.ANSWER}",
                sampling=replace(row.prepared.options.sampling, seed=row.answer.seed),
                trace_id=row.root.trace_id,
            )
            row.chat = chat_span(self.tracer, row.prepared, request).begin(row.root)
            self.open[request.id] = row
            yield request

    def _add(self, row: _Row, text: str) -> None:
        if row.thinking:
            row.answer.reasoning += text
        else:
            row.answer.text += text
        row.chat.partial(row.answer.reasoning if row.thinking else row.answer.text)

    def _finish(self, row: _Row, event: Finished, journal: Journal) -> None:
        del self.open[event.request_id]
        if row.thinking:
            row.answer.reasoning = event.text
        else:
            row.answer.text = event.text.strip() if row.answer.reasoning else event.text
        error: LLMOpsError | None = None
        try:
            take(row.answer, event, row.chat)
            if row.thinking:
                row.chat.finish()
                self.second.append(row)
                return
            finish_answer(row.prepared, row.answer)
        except LLMOpsError as e:
            error = e
            row.answer.finish_reason = "error"
        self._close(row, error)
        done = make_completion(row.prepared, row.answer, row.root.trace_id, row.prepared.notes)
        self.results[row.position] = done
        if error is not None:
            self.failures[row.position] = str(error)
        else:
            journal.keep(row.position, done)
        self._report()

    def _close(self, row: _Row, error: BaseException | None) -> None:
        row.chat.finish(error)
        if isinstance(error, KeyboardInterrupt):
            row.answer.finish_reason = "interrupted"
        finish_root(row.root, row.answer)
        row.root.finish(error)

    def _report(self) -> None:
        if self.progress is None:
            return
        elapsed, fresh = time.monotonic() - self.began, len(self.results) - self.resumed
        left = len(self.rows) - len(self.results)
        self.progress(
            Progress(
                done=len(self.results),
                total=len(self.rows),
                resumed=self.resumed,
                failed=len(self.failures),
                elapsed_s=elapsed,
                remaining_s=elapsed / fresh * left if fresh else None,
            )
        )


def _row_request(prepared: Prepared, position: int) -> Request:
    """A row's request: with a seed given, each row has its own that follows from it."""
    sampling, seed = prepared.request.sampling, prepared.options.sampling.seed
    if seed is not None:
        sampling = replace(sampling, seed=(seed + position) % 2**32)
    return replace(prepared.request, id=str(position), sampling=sampling)


def _resumed(prepared: Prepared, done: Completion) -> Completion:
    """A completion of the journal with its parsed object made again."""
    content, model_class = prepared.content, prepared.options.model_class
    if content.schema is None or model_class is None or done.parsed is None:
        return done
    parsed = reasoning.parse_answer(done.text, content.schema, model_class, cut=False)
    return replace(done, parsed=parsed)


def completion_to_json(done: Completion) -> str:
    """A completion as text; a parsed pydantic object is parsed again from the answer's text."""
    value = {k: v for k, v in vars(done).items() if k not in ("usage", "timing", "hits", "parsed")}
    dump = getattr(done.parsed, "model_dump", None)
    value["parsed"] = dump(mode="json") if callable(dump) else done.parsed
    value["usage"], value["timing"] = asdict(done.usage), asdict(done.timing)
    value["hits"] = [asdict(h) for h in done.hits]
    return json.dumps(value, ensure_ascii=True)


def completion_from_json(text: str) -> Completion:
    """The completion that `completion_to_json` wrote."""
    value = json.loads(text)
    return Completion(
        **{
            **value,
            "usage": Usage(**value["usage"]),
            "timing": Timing(**value["timing"]),
            "hits": tuple(Hit(**h) for h in value["hits"]),
            **{k: tuple(value[k]) for k in ("tool_calls", "verdicts", "notes")},
        }
    )
