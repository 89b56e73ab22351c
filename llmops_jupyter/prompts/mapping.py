"""A prompt over many rows: batched, traced row by row, resumed where an earlier run was broken off."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.errors import BudgetError, LLMOpsError, SchemaError
from llmops_jupyter.prompts import reasoning, spending
from llmops_jupyter.prompts.answer import (
    Answer,
    check_answer,
    finish_answer,
    make_completion,
    needs_no_model,
    take,
)
from llmops_jupyter.prompts.grounding import grounded
from llmops_jupyter.prompts.guarding import tell_input, tell_root
from llmops_jupyter.prompts.journal import Kept
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.prompts.runspans import chat_span, finish_root, note_root, root_span
from llmops_jupyter.prompts.screening import Screen
from llmops_jupyter.records import Completion, Failure, Table
from llmops_jupyter.tracing import Span, Tracer, current_span, names

if TYPE_CHECKING:
    from llmops_jupyter.prompts.agent import Agent

# The first rows read what all share; a time that is estimated from fewer is far off.
ESTIMATE_ROWS, ESTIMATE_S = 8, 10.0


@dataclass(frozen=True)
class Progress:
    """How far a map is; `remaining_s` is estimated from the rows done in this run, once there are some."""

    done: int
    total: int
    resumed: int
    failed: int
    elapsed_s: float
    remaining_s: float | None

    def __str__(self) -> str:
        return self.text("from the run that was broken off")

    def text(self, resumed: str) -> str:
        """The progress on one line; `resumed` says what the rows are that did not run."""
        parts = [f"{self.done}/{self.total} rows"]
        if self.resumed:
            parts.append(f"{self.resumed} {resumed}")
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


@dataclass
class _Row:
    position: int
    prepared: Prepared
    root: Span
    chat: Span
    answer: Answer
    screen: Screen
    agent: Agent | None = None
    request: Request | None = None
    began: float = field(default_factory=time.monotonic)


class Map:
    """The state of a running map.

    Args:
        prepare_row: makes the request of a row from its variables.
        pairs: row ids with the rows.
        keep: makes what finished rows are kept in, from the first row's request.
        progress: told after each row.
        partial: gets the finished rows of a run that is broken off, before the error is raised on.
    """

    def __init__(
        self,
        tracer: Tracer,
        prepare_row: Callable[[Mapping[str, Any]], Prepared],
        pairs: Sequence[tuple[str, Mapping[str, Any]]],
        keep: Callable[[Prepared], Kept],
        progress: Callable[[Progress], None] | None,
        partial: Callable[[Table], None] | None = None,
    ) -> None:
        self.tracer = tracer
        self.prepare_row = prepare_row
        self.row_ids = [row_id for row_id, _ in pairs]
        self.rows = [row for _, row in pairs]
        self.keep = keep
        self.progress = progress
        self.partial = partial
        self.results: dict[int, Completion] = {}
        self.failures: dict[int, str] = {}
        self.open: dict[str, _Row] = {}
        self.second: list[_Row] = []
        self.todo: deque[int] = deque()
        # Whether a budget has cut rows, which are then not kept as finished.
        self.cut = False
        self.budgets = spending.Rows()
        self.resumed = 0
        self.began = time.monotonic()

    def run(self) -> Table:
        """All rows, in their order.

        Raises:
            KeyboardInterrupt: finished rows are kept; the same call goes on from there.
            BudgetError: no budget is left for the first row.
        """
        if not self.rows:
            return Table((), (), ())
        first = self.prepare_row(self.rows[0])
        journal = self._journal = self.keep(first)
        self.results = {i: _resumed(first, done) for i, done in journal.done.items()}
        self.resumed = len(journal.done)
        self.todo.extend(i for i in range(len(self.rows)) if i not in self.results)
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
            self.budgets.close()
            if error is not None and self.results and self.partial is not None:
                self.partial(self._table())
        if self.todo and not self.results:
            raise BudgetError(self.budgets.why)
        if self.todo or self.cut:
            self._leave_out(first)
        else:
            journal.finish()
        return self._table()

    def _leave_out(self, first: Prepared) -> None:
        """The rows that no budget was left for; the same call goes on with them."""
        engine, version = first.engine, first.version
        for position in self.todo:
            ref = version.ref if version else ""
            self.results[position] = Completion(
                "", finish_reason="budget", model=engine.model_name, prompt_version=ref
            )
            self.failures[position] = (
                f"Not run: {self.budgets.why} The same call goes on from here."
            )
        self.todo.clear()
        self._report()

    def _table(self) -> Table:
        """The rows that have ended, in their order."""
        failures = [Failure(self.row_ids[i], why) for i, why in sorted(self.failures.items())]
        places = sorted(self.results)
        return Table(
            [self.results[i] for i in places],
            [self.rows[i] for i in places],
            [self.row_ids[i] for i in places],
            failures,
        )

    def _generate(self, engine: Any, journal: Kept) -> None:
        # Further passes write the answers of rows that have reasoned, and the next steps of those with tools, and
        # begin rows that waited until others gave back what they had reserved of a budget.
        while self.second or (self.todo and not self.budgets.why):
            requests = self._second_requests() if self.second else self._first_requests()
            events = iter(engine.generate(requests))
            try:
                for event in events:
                    row = self.open[event.request_id]
                    if isinstance(event, Token):
                        row.chat.first_token()
                        row.chat.partial(row.answer.add(event))
                    elif isinstance(event, Finished):
                        self._finish(row, event, journal)
            finally:
                close = getattr(events, "close", None)
                if callable(close):
                    close()

    def _first_requests(self) -> Iterator[Request]:
        while self.todo:
            position = self.todo[0]
            prepared = self.prepare_row(self.rows[position])
            request = _row_request(prepared, position)
            if not self.budgets.begin(prepared, request):
                return
            self.todo.popleft()
            root = root_span(self.tracer, prepared, request)
            root.set(names.MAP_ROW, self.row_ids[position])
            root.set(names.MAP_ROWS, len(self.row_ids))
            root.begin(current_span())
            answer = Answer()
            screen = Screen(self.tracer, prepared, root, answer)
            if prepared.source is not None or prepared.guarding is not None:
                note_root(root, prepared, request)
                found = self._grounded(position, prepared, screen)
                if found is None:
                    self.budgets.give_back(request)
                    continue
                prepared, request = found, _row_request(found, position)
            request = replace(request, trace_id=root.trace_id)
            answer.begin_step(thinking=prepared.content.cot and prepared.content.schema is None)
            agent = None
            first = request
            if prepared.options.tools:
                from llmops_jupyter.prompts.agent import Agent

                agent = Agent(self.tracer, prepared, root, answer, screen, alone=False)
                request = agent.request(first)
            chat = self._chat(prepared, request, root)
            row = _Row(position, prepared, root, chat, answer, screen, agent, first)
            self.open[request.id] = row
            yield self.budgets.lowered(request)

    def _chat(self, prepared: Prepared, request: Request, root: Span) -> Span:
        """Begin the span of a call, which says like its root that others wait beside it."""
        span = chat_span(self.tracer, prepared, request)
        span.set(names.MAP_ROWS, len(self.row_ids))
        return span.begin(root)

    def _second_requests(self) -> Iterator[Request]:
        for _ in range(len(self.second)):
            row = self.second.pop(0)
            if row.agent is not None and row.request is not None:
                request = row.agent.request(row.request)
                row.answer.begin_step(thinking=False)
                if self._goes_on(row, request):
                    yield self.budgets.lowered(request)
                continue
            row.answer.reasoning = row.answer.reasoning.strip()
            row.answer.begin_step(thinking=False)
            request = replace(
                row.prepared.request,
                id=str(row.position),
                interactive=False,
                exact=row.prepared.options.exact,
                prefill=f"{row.answer.reasoning}\n{reasoning.ANSWER}",
                sampling=replace(row.prepared.options.sampling, seed=row.answer.seed),
                trace_id=row.root.trace_id,
            )
            if self._goes_on(row, request):
                yield self.budgets.lowered(request)

    def _goes_on(self, row: _Row, request: Request) -> bool:
        """Begin a further step of a row; one that no budget is left for ends with what it has."""
        row.chat = self._chat(row.prepared, request, row.root)
        self.open[request.id] = row
        ended = self.budgets.proceed(row.prepared, request)
        if ended is not None:
            self._finish(row, ended, self._journal)
        return ended is None

    def _finish(self, row: _Row, event: Finished, journal: Kept) -> None:
        del self.open[event.request_id]
        event = self.budgets.settle(event)
        two_steps = row.prepared.content.cot and row.prepared.content.schema is None
        row.answer.end(event)
        if two_steps and not row.answer.thinking:
            row.answer.text = row.answer.text.strip()
        error: LLMOpsError | None = None
        try:
            take(row.answer, event, row.chat)
            if row.answer.thinking:
                row.chat.finish()
                self.second.append(row)
                return
            if row.agent is not None:
                row.chat.finish()
                self.open[event.request_id] = row  # an interrupt may come while functions run
                for _ in row.agent.proceed(event):
                    pass
                del self.open[event.request_id]
                if not row.agent.over:
                    self.second.append(row)
                    return
            finish_answer(row.prepared, row.answer)
            row.screen.gives(row.prepared)
            if not row.screen.denied:
                check_answer(row.prepared, row.answer, row.root)
        except LLMOpsError as e:
            error = e
            self.open.pop(event.request_id, None)
            row.answer.finish_reason = "error"
        self._close(row, error)
        done = make_completion(row.prepared, row.answer, row.root.trace_id, row.prepared.notes)
        self._ended(row.position, done, error, journal)

    def _grounded(self, position: int, prepared: Prepared, screen: Screen) -> Prepared | None:
        """The row with its input checked and its passages; None if it has ended, since it needs no model or failed."""
        root, answer = screen.root, screen.answer
        error: LLMOpsError | None = None
        try:
            taken = screen.takes(prepared)
            tell_input(root, taken or prepared)
            if taken is not None:
                prepared = grounded(taken, root, screen.passages)
                if not needs_no_model(prepared, answer):
                    return prepared
                screen.gives(prepared)
        except LLMOpsError as e:
            error, answer.finish_reason = e, "error"
        except BaseException as e:
            root.finish(e)
            raise
        tell_root(root, prepared.guarding, answer.verdicts)
        finish_root(root, answer)
        root.finish(error)
        done = make_completion(prepared, answer, root.trace_id, prepared.notes)
        self._ended(position, done, error, self._journal)
        return None

    def _ended(
        self, position: int, done: Completion, error: LLMOpsError | None, journal: Kept
    ) -> None:
        self.results[position] = done
        if error is not None:
            self.failures[position] = str(error)
        elif done.finish_reason == "budget":
            self.cut = True
            why = next(
                (n for n in done.notes if n.startswith("The budget")), "A budget is used up."
            )
            self.failures[position] = f"Cut: {why} The same call runs the row again."
        else:
            journal.keep(position, done)
        self._report()

    def _close(self, row: _Row, error: BaseException | None) -> None:
        if row.request is not None:
            text, seconds = row.answer.text, time.monotonic() - row.began
            self.budgets.broken_off(row.request.id, text, row.answer.reasoning, seconds)
        row.chat.finish(error)
        if isinstance(error, KeyboardInterrupt):
            row.answer.finish_reason = "interrupted"
        if error is not None:
            row.screen.break_off(row.prepared)
        tell_root(row.root, row.prepared.guarding, row.answer.verdicts)
        finish_root(row.root, row.answer)
        row.root.finish(error)

    def _report(self) -> None:
        if self.progress is None:
            return
        elapsed, fresh = time.monotonic() - self.began, len(self.results) - self.resumed
        left = len(self.rows) - len(self.results)
        known = fresh >= ESTIMATE_ROWS or (fresh and elapsed >= ESTIMATE_S)
        self.progress(
            Progress(
                done=len(self.results),
                total=len(self.rows),
                resumed=self.resumed,
                failed=len(self.failures),
                elapsed_s=elapsed,
                remaining_s=elapsed / fresh * left if known else None,
            )
        )


def _row_request(prepared: Prepared, position: int) -> Request:
    """A row's request: with a seed given, each row has its own that follows from it."""
    sampling, seed = prepared.request.sampling, prepared.options.sampling.seed
    if seed is not None:
        sampling = replace(sampling, seed=(seed + position) % 2**32)
    request = replace(prepared.request, id=str(position), sampling=sampling, interactive=False)
    return replace(request, exact=prepared.options.exact)


def _resumed(prepared: Prepared, done: Completion) -> Completion:
    """A completion of the journal with its parsed object made again."""
    content, model_class = prepared.content, prepared.options.model_class
    if content.schema is None or model_class is None or done.parsed is None:
        return done
    try:
        parsed = reasoning.parse_answer(done.text, content.schema, model_class, cut=False)
    except (
        SchemaError
    ):  # what was taken out of the text may have been needed; its plain values stay
        return done
    return replace(done, parsed=parsed)
