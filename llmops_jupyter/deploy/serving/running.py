"""Runs in threads, whose pieces an event loop gets: cancelled when nobody waits for them any more."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import EngineError, SchemaError, StoreError
from llmops_jupyter.prompts.run import Run
from llmops_jupyter.prompts.stopping import Stop
from llmops_jupyter.records import Completion, ToolCall
from llmops_jupyter.tracing import Tracer
from llmops_jupyter.tracing.search import WORKFLOW

if TYPE_CHECKING:
    from llmops_jupyter.prompts.prepare import Prepared

LOG = logging.getLogger(__name__)
# Pieces that wait for a slow client; an answer is seldom longer, so that the model is not held up.
MOST_PIECES = 8192
STEP_S = 0.2


@dataclass(frozen=True)
class Piece:
    """A piece of one of the answers."""

    index: int
    text: str
    reasoning: bool = False


@dataclass(frozen=True)
class End:
    """The end of one of the answers; `rest` is what of its text was not told before."""

    index: int
    completion: Completion
    calls: tuple[ToolCall, ...] = ()
    rest: str = ""


@dataclass(frozen=True)
class Failed:
    """One of the answers has failed."""

    index: int
    error: Exception


Item = Piece | End | Failed


class Traces:
    """Where traces are written; where that fails a run goes on without one.

    Args:
        tracer: of the store that keeps them.
    """

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.lost = 0
        self.fault = ""

    def note(self, error: BaseException) -> None:
        """A trace could not be written."""
        self.lost += 1
        if not self.fault:
            LOG.error("traces are lost: %s", error)
        self.fault = " ".join(str(error).split())

    def written(self) -> None:
        """A trace was written."""
        self.fault = ""

    def failed(self, attributes: Mapping[str, Any], error: Exception) -> None:
        """Keep that a request failed before its run began: of that, too, a release is judged."""
        try:
            span = self.tracer.span("prompt", op=WORKFLOW, attributes=attributes).begin()
        except StoreError as e:
            self.note(e)
        else:
            span.finish(error)

    @contextmanager
    def spare(self) -> Iterator[Tracer]:
        """A tracer that keeps nothing."""
        from llmops_jupyter.store import open_store

        with open_store(":memory:") as store:
            yield Tracer(store)


class Telling:
    """How much of one answer was told before its end.

    Args:
        index: of the answer.
        put: hands a piece on.
    """

    def __init__(self, index: int, put: Callable[[Piece], None]) -> None:
        self.index, self._put = index, put
        self.said = self.thought = ""

    @property
    def begun(self) -> bool:
        """Whether somebody has read something of it."""
        return bool(self.said or self.thought)

    def tell(self, text: str, reasoning: str) -> None:
        """Hand on what has come since."""
        if len(reasoning) > len(self.thought) and reasoning.startswith(self.thought):
            piece = Piece(self.index, reasoning[len(self.thought) :], reasoning=True)
            self.thought = reasoning
            self._put(piece)
        if len(text) > len(self.said) and text.startswith(self.said):
            piece = Piece(self.index, text[len(self.said) :])
            self.said = text
            self._put(piece)

    def rest(self, text: str) -> str:
        """What of a text was not told."""
        return text[len(self.said) :] if text.startswith(self.said) else ""


class Running:
    """The answers to one request, each written in a thread.

    Args:
        runs: one for each answer.
        traces: where they are traced.
        streams: whether pieces are told before the end.
    """

    def __init__(self, runs: list[Prepared], traces: Traces, *, streams: bool) -> None:
        self.runs, self._traces, self._streams = runs, traces, streams
        self.begun = time.perf_counter()
        self.first: float | None = None
        # Whether nobody waits for it any more: what becomes of it then is no fault, and is told to nobody.
        self.abandoned = False
        self._stop = Stop()
        self._room = threading.Semaphore(MOST_PIECES)
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._left = len(runs)
        self._lock = threading.Lock()

    def start(self, pool: ThreadPoolExecutor, done: Callable[[], None]) -> None:
        """Begin; `done` is called in the loop when the last run has ended, whoever still reads."""
        self._done = done
        for index, prepared in enumerate(self.runs):
            pool.submit(self._work, index, prepared)

    def cancel(self) -> None:
        """Nobody waits any more: each run ends at once, also where the model still reads its prompt."""
        self.abandoned = True
        self._stop.set()

    def break_off(self, error: Exception) -> None:
        """End each run, and tell whoever reads why; in the loop."""
        self._items.put_nowait(Failed(0, error))
        self._stop.set()

    async def next(self) -> Item:
        """What comes next."""
        found = await self._items.get()
        self._room.release()
        return found

    def _put(self, item: Item) -> None:
        while not self._room.acquire(timeout=STEP_S):
            self._stop.check()
        self._call(self._items.put_nowait, item)

    def _call(self, what: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            self._stop.set()  # the loop has ended

    def _work(self, index: int, prepared: Prepared) -> None:
        try:
            self._put(self._traced(index, prepared))
        except KeyboardInterrupt:  # of `Stop`; that of a person is raised in the main thread
            self._call(self._items.put_nowait, Failed(index, ConnectionError("nobody waits")))
        except BaseException as e:  # noqa: BLE001 - whoever asked is told, and would wait for ever otherwise
            told = e if isinstance(e, Exception) else EngineError(type(e).__name__)
            self._call(self._items.put_nowait, Failed(index, told))
        finally:
            with self._lock:
                self._left -= 1
                last = self._left == 0
            if last:
                self._call(self._done)

    def _traced(self, index: int, prepared: Prepared) -> Item:
        """The run with its trace; without one where the store cannot be written and nothing was told yet."""
        telling = Telling(index, self._put)
        try:
            found = self._run(telling, prepared, self._traces.tracer)
        except StoreError as e:
            self._traces.note(e)
            if telling.begun:
                raise
            with self._traces.spare() as tracer:
                return self._run(telling, prepared, tracer)
        if self._traces.tracer.unsaved:
            self._traces.note(StoreError("the end of a trace could not be written"))
        else:
            self._traces.written()
        return found

    def _run(self, telling: Telling, prepared: Prepared, tracer: Tracer) -> Item:
        run = Run(tracer, prepared)
        run.obey(self._stop)
        try:
            with run:
                for _ in run:
                    self._stop.check()
                    self._note_first()
                    if self._streams:
                        telling.tell(run.answer.text, run.answer.reasoning)
        except SchemaError:
            finished = run.answer.finished
            if finished is None or finished.finish_reason != "length":
                raise
            # It was cut, so that it cannot be valid: whoever asked is told that by the finish reason.
            shown = run.completion
            return End(
                telling.index,
                replace(shown, finish_reason="length"),
                rest=telling.rest(shown.text),
            )
        completion = run.completion
        self._note_first()
        telling.tell(telling.said, completion.reasoning)
        rest = telling.rest(completion.text)
        finished = run.answer.finished
        calls = finished.tool_calls if finished is not None else ()
        if completion.finish_reason == "content_filter" or not calls:
            return End(telling.index, completion, rest=rest)
        end = _checked(telling.index, run, completion, calls)
        denied = end.completion is not completion
        return replace(end, rest=("" if telling.said else end.completion.text) if denied else rest)

    def _note_first(self) -> None:
        if self.first is None:
            self.first = time.perf_counter()


def _checked(index: int, run: Run, completion: Completion, calls: tuple[ToolCall, ...]) -> End:
    """Calls of tools as the guard leaves them: their arguments leave the server as the answer does."""
    guarding = run.prepared.guarding
    if guarding is None or not guarding.pipeline.looks_at("output"):
        return End(index, completion, calls)
    left = []
    for call in calls:
        text = json.dumps(dict(call.arguments), ensure_ascii=False)
        report = guarding.pipeline.check(text, "output", part=True)
        try:
            arguments = json.loads(report.text) if report.allowed else None
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            denied = replace(completion, text=report.text, finish_reason="content_filter")
            return End(index, denied)
        left.append(replace(call, arguments=arguments))
    return End(index, completion, tuple(left))
