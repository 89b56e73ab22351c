"""One request for answers: admitted, run, and told whole or piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter.deploy.serving import answers, faults
from llmops_jupyter.deploy.serving.answers import Form
from llmops_jupyter.deploy.serving.asking import Asked
from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.deploy.serving.preparing import prepared
from llmops_jupyter.deploy.serving.running import End, Failed, Item, Piece, Running
from llmops_jupyter.deploy.serving.service import Service, parent_of
from llmops_jupyter.deploy.serving.streaming import ALIVE, ALIVE_S, DONE, EventStream, event
from llmops_jupyter.deploy.serving.waiting import leave_after, while_wanted
from llmops_jupyter.errors import BudgetError, DeadlineError, EngineError, SchemaError
from llmops_jupyter.records import Usage

if TYPE_CHECKING:
    from starlette.requests import Request

    from llmops_jupyter.deploy.serving.loaded import Loaded
    from llmops_jupyter.prompts.prepare import Prepared

T = TypeVar("T")
# How an answer ends that is an error of the interface.
BROKEN: Mapping[str, Callable[[], Exception]] = {
    "budget": lambda: BudgetError("The budget is used up. Ask whoever runs this server."),
    "deadline": lambda: DeadlineError("The answer took too long."),
    "interrupted": lambda: EngineError("The model was closed while it answered."),
    "error": lambda: EngineError("The model broke off."),
}


class Answering:
    """The answers to one request.

    Args:
        service: that gives them.
        request: of Starlette.
        asked: what it asks for.
        model: the name that it was asked for by.
        chat: whether it is a conversation.
    """

    def __init__(
        self, service: Service, request: Request, asked: Asked, model: str, *, chat: bool
    ) -> None:
        self.service, self.request, self.asked = service, request, asked
        self.entry: dict[str, Any] = request.scope["llmops"]
        self._pinned, self._model, self._chat = service.pinned(model), model, chat
        self._arrived = time.perf_counter()
        if asked.answers > service.limits.choices:
            raise Refusal(
                400, f"One request gets {service.limits.choices} answers at most.", param="n"
            )

    async def respond(self) -> Any:
        """The response.

        Raises:
            Refusal: the request gets an error instead.
        """
        running = await self._wanted(self._begin())
        if self.asked.stream:
            return await self._streamed(running)
        try:
            ends = await self._wanted(self._all(running))
        except BaseException:
            running.cancel()
            raise
        from starlette.responses import JSONResponse

        usage = self._note(running, ends)
        made = self.form.whole(ends, usage, answers.more_of(ends[0], self.ref))
        return JSONResponse(made, headers=self._headers)

    async def _begin(self) -> Running:
        """Wait for places, take a release, prepare, and have it begin."""
        service, asked = self.service, self.asked
        places = asked.answers
        await service.gate.enter(places)
        begun = time.perf_counter()
        with ExitStack() as held:
            held.callback(lambda: service.gate.leave(places, time.perf_counter() - begun))
            service.metrics.waited(begun - self._arrived)
            taken = held.enter_context(service.fleet.take(self._unit(), self._pinned))
            self.ref = self.entry["release"] = taken.loaded.ref
            self.form = Form(
                ("chatcmpl-" if self._chat else "cmpl-") + secrets.token_hex(12),
                int(time.time()),
                self._model,
                taken.loaded.short,
                self._chat,
            )
            attributes = self._attributes(taken.attributes)
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(service.beside, self._prepared, taken.loaded, attributes)
            try:
                runs = await asyncio.shield(work)
            except asyncio.CancelledError:
                # A thread is not broken off with the task that waits for it, so the release is held until it ends.
                leave_after(work, held.pop_all().close)
                raise
            self._how = str(runs[0].attributes["llmops.serving.prompt"])
            streams = asked.stream and not taken.loaded.holds_back
            running = Running(runs, service.traces, streams=streams)
            running.start(service.writers, held.pop_all().close)
        return running

    def _prepared(self, loaded: Loaded, attributes: Mapping[str, str]) -> list[Prepared]:
        """The runs; where there are none, a trace says of which release that was a failure."""
        try:
            return prepared(loaded, self.asked, attributes)
        except Exception as e:
            self.service.traces.failed(attributes, e)
            raise

    async def _all(self, running: Running) -> list[End]:
        """All answers.

        Raises:
            Exception: of the first that failed.
        """
        ends: list[End] = []
        while len(ends) < len(running.runs):
            item = await running.next()
            if isinstance(item, Failed):
                raise self._fault(item.error)
            if isinstance(item, End):
                self._check_end(item)
                ends.append(item)
        return ends

    async def _streamed(self, running: Running) -> EventStream:
        """A stream of the answers; what fails before the first piece is an error with its status."""
        try:
            first = await self._wanted(self._soon(running))
            if isinstance(first, Failed):
                raise self._fault(first.error)
            if isinstance(first, End):
                self._check_end(first)
        except BaseException:
            running.cancel()
            raise
        service = self.service
        return EventStream(
            self._events(running, first),
            running,
            service.cut,
            service.limits.send_s,
            self._headers,
            lambda why: self.entry.update(error=why),
        )

    @staticmethod
    async def _soon(running: Running) -> Item | None:
        """The first piece; None if it does not come soon."""
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(running.next(), ALIVE_S)
        return None

    async def _events(self, running: Running, first: Item | None) -> AsyncIterator[bytes]:
        """The events of a stream; one that breaks off ends with an error."""
        try:
            async for part in self._told(running, first):
                yield part
        except Exception as e:  # noqa: BLE001 - it is told in the stream
            # A task may go on for a moment after it was cancelled (`asyncio.wait_for` in Python 3.11).
            if not running.abandoned:
                yield self._broken(e)

    async def _told(self, running: Running, first: Item | None) -> AsyncIterator[bytes]:
        form, ends = self.form, []
        if self._chat:
            for index in range(len(running.runs)):
                yield event(form.opening(index))
        item = first
        while True:
            if item is None:
                yield ALIVE
            elif isinstance(item, Failed):
                raise item.error
            elif isinstance(item, Piece):
                if self._chat or not item.reasoning:
                    yield event(form.piece(item))
            else:
                self._check_end(item)
                for part in self._last(item):
                    yield event(part)
                ends.append(item)
                if len(ends) == len(running.runs):
                    break
            item = await self._soon(running)
        usage = self._note(running, ends)
        if self.asked.include_usage:
            yield event(form.usage(usage))
        yield DONE

    def _last(self, end: End) -> list[dict[str, Any]]:
        """The pieces by which one of the answers ends."""
        parts = [self.form.piece(Piece(end.index, end.rest))] if end.rest else []
        if end.calls:
            parts.append(self.form.calls(end))
        return [*parts, self.form.ending(end, answers.more_of(end, self.ref))]

    def _broken(self, error: Exception) -> bytes:
        """The event by which a stream ends that has failed."""
        refusal = faults.refusal_of(self._fault(error))
        self.entry["error"] = refusal.code or refusal.kind
        self.service.metrics.refused(refusal.status, refusal.code)
        self._failed(refusal)
        return event(refusal.as_dict())

    def _fault(self, error: Exception) -> Exception:
        """The error to tell: a schema of the request that cannot be used is the request's own fault."""
        if isinstance(error, SchemaError) and self.asked.schema is not None:
            return Refusal(400, str(error), code="invalid_schema", param="response_format")
        return error

    def _failed(self, refusal: Refusal) -> None:
        operation = "chat" if self._chat else "text_completion"
        self.service.metrics.failed(
            operation, time.perf_counter() - self._arrived, refusal.code or refusal.kind
        )

    def _check_end(self, end: End) -> None:
        """Raise where the way in which an answer has ended is an error."""
        made = BROKEN.get(end.completion.finish_reason)
        if made is not None:
            raise made()

    def _note(self, running: Running, ends: list[End]) -> Usage:
        """Have the log and the figures say what came of it; the usage of all answers."""
        now, metrics = time.perf_counter(), self.service.metrics
        usage = answers.usage_of_all(ends, self.asked.n)
        first = None if running.first is None else running.first - self._arrived
        for end in ends:
            metrics.answered(answers.reason_of(end), end.completion.usage)
        metrics.timed(
            "chat" if self._chat else "text_completion",
            now - self._arrived,
            first,
            usage.output_tokens // max(1, len(ends)),
        )
        self.entry.update(
            trace=ends[0].completion.trace_id,
            finish=answers.reason_of(ends[0]),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            first_s=None if first is None else round(first, 4),
        )
        return usage

    def _unit(self) -> str:
        """Whose request it is, for the shares of releases."""
        given = self.request.headers.get("x-llmops-unit") or self.asked.user
        return str(given or self.entry.get("key") or self.entry["id"])

    def _attributes(self, taken: Any) -> dict[str, str]:
        parent = parent_of(self.request.headers.get("traceparent"))
        found = {**taken, "llmops.request.id": self.entry["id"]}
        if "key" in self.entry:
            found["llmops.request.key"] = self.entry["key"]
        return {**found, "traceparent": parent} if parent else found

    @property
    def _headers(self) -> dict[str, str]:
        return {"X-LLMOps-Release": self.ref, "X-LLMOps-Prompt": self._how}

    async def _wanted(self, work: Awaitable[T]) -> T:
        return await while_wanted(work, self.request.receive, self.service.cut)
