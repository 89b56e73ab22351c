"""Prompts that stay within budgets: what a run asks of those who keep them, and how an answer is cut.

A budget cuts before it is overrun: the request is given no more tokens than are left, so that the engine itself
stops at the right one, and a deadline where time is what runs out. Where others use the same budget meanwhile, a
running answer looks from time to time whether something is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.engine.protocol import Engine, Event, Finished, Request, Token
from llmops_jupyter.errors import BudgetError, LLMOpsError
from llmops_jupyter.records import Timing, Usage

if TYPE_CHECKING:
    from llmops_jupyter.prompts.prepare import Prepared

# Bytes of text that make a token at least, where nobody has counted; few, so that a budget is not overrun.
BYTES_A_TOKEN = 3


@dataclass(frozen=True)
class Call:
    """A call of a model that is about to be made.

    `extra_tokens` are those that its prompt will get yet, at most, such as passages of documents. `alone` says that nothing else of this run goes on beside it, as rows of a map do.
    """

    engine: Engine
    request: Request
    prompt: str = ""
    version: int | None = None
    session: str | None = None
    deployment: str = ""
    extra_tokens: int = 0
    alone: bool = True


class Permit(Protocol):
    """Leave to make a call, within what is left of the budgets.

    Args:
        request: the call's, with fewer tokens or less time if less is left.
        lowered: whether it has fewer tokens than it had.
    """

    request: Request
    lowered: bool

    def over(self) -> bool:
        """Whether a budget has been used up meanwhile; cheap enough to be asked at every token."""
        ...

    def settle(self, finished: Finished) -> Finished:
        """Book what the call took; the end as it is told, with 'budget' where a budget was the reason."""
        ...


class Purse(Protocol):
    """Who keeps the budgets; the workspace plugs this in."""

    def check(self, call: Call) -> None:
        """Raise a BudgetError if nothing is left for a call; nothing is reserved."""
        ...

    def permit(self, call: Call) -> Permit | None:
        """Reserve for a call; None if no budget concerns it. Raises a BudgetError if nothing is left."""
        ...


def call_of(prepared: Prepared, request: Request, *, alone: bool) -> Call:
    """A request of a prepared prompt, as budgets see it."""
    version = prepared.version
    return Call(
        prepared.engine,
        request,
        version.name if version else "",
        version.version if version else None,
        prepared.options.session,
        str(prepared.attributes.get("llmops.deployment", "")),
        alone=alone,
    )


def check(prepared: Prepared) -> None:
    """Raise a BudgetError if nothing is left for a prompt, before anything is written."""
    if prepared.purse is not None:
        prepared.purse.check(call_of(prepared, prepared.request, alone=True))


def generate(prepared: Prepared, request: Request, *, begun: bool) -> Iterator[Event]:
    """The events of one request, cut where a budget ends.

    Args:
        prepared: what runs.
        request: of this step.
        begun: whether the run has an answer from earlier steps, which is kept if nothing is left for this one.

    Raises:
        BudgetError: nothing is left for the first step.
    """
    permit = None
    if prepared.purse is not None:
        try:
            permit = prepared.purse.permit(call_of(prepared, request, alone=True))
        except BudgetError as e:
            if not begun:
                raise
            seed = request.sampling.seed or 0
            yield Finished(request.id, "", "budget", Usage(), Timing(), seed, notes=(str(e),))
            return
    if permit is None:
        yield from prepared.engine.generate([request])
        return
    yield from _watched(prepared.engine, permit)


def _watched(engine: Engine, permit: Permit) -> Iterator[Event]:
    """The events of a permitted request; what came of it is booked, however it ends."""
    request, said, began = permit.request, _Said(), time.perf_counter()
    events: Any = iter(engine.generate([request]))
    finished: Finished | None = None
    try:
        for event in events:
            if isinstance(event, Finished):
                finished = permit.settle(event)
                yield finished
                return
            said.add(event)
            yield event
            if permit.over():
                break
        # A generator that is closed cancels what runs; what the engine counted is lost with it.
        _close(events)
        finished = permit.settle(said.end(engine, request, began))
        yield finished
    finally:
        _close(events)
        if finished is None:
            permit.settle(
                broken_off(request, said.text, said.reasoning, time.perf_counter() - began)
            )


def _close(events: Any) -> None:
    close = getattr(events, "close", None)
    if callable(close):
        close()


class _Said:
    """What came of an answer whose end its engine does not tell."""

    def __init__(self) -> None:
        self.text = self.reasoning = ""
        self.first: float | None = None

    def add(self, event: Token) -> None:
        if self.first is None:
            self.first = time.perf_counter()
        if event.reasoning:
            self.reasoning += event.text
        else:
            self.text += event.text

    def end(self, engine: Engine, request: Request, began: float) -> Finished:
        """The end of an answer that was stopped here; its tokens are counted from its text."""
        try:
            asked = engine.count_tokens(request.messages or request.text or "")
            usage = Usage(asked, engine.count_tokens(self.reasoning + self.text))
        except LLMOpsError:
            usage = rough(self.text, self.reasoning)
        first = None if self.first is None else self.first - began
        return Finished(
            request.id,
            self.text,
            "budget",
            usage,
            Timing(time.perf_counter() - began, first),
            request.sampling.seed or 0,
            reasoning=self.reasoning,
        )


def rough(text: str, reasoning: str = "") -> Usage:
    """Tokens of an answer by its length, rather too many than too few."""
    size = len((text + reasoning).encode("utf-8", "replace"))
    return Usage(output_tokens=-(-size // BYTES_A_TOKEN))


def broken_off(request: Request, text: str, reasoning: str, seconds: float) -> Finished:
    """The end of an answer that was broken off, for the account: nobody may wait for a count."""
    return Finished(
        request.id,
        text,
        "interrupted",
        rough(text, reasoning),
        Timing(seconds),
        request.sampling.seed or 0,
        reasoning=reasoning,
    )


class Rows:
    """The permits of the rows of one map. `why` says, once it is set, that no further row may begin.

    What rows in flight have reserved and do not use comes back when they end. So a row that would get less than
    it asks for waits while others run, and only then takes what there is.
    """

    def __init__(self) -> None:
        self.why = ""
        self._permits: dict[str, Permit] = {}

    def begin(self, prepared: Prepared, request: Request) -> bool:
        """Whether a row may begin now; if not, it may when those in flight have ended, unless `why` is set."""
        if prepared.purse is None:
            return True
        call = replace(call_of(prepared, request, alone=False), extra_tokens=_passages(prepared))
        try:
            permit = prepared.purse.permit(call)
        except BudgetError as e:
            if not self._permits:
                self.why = str(e)
            return False
        if permit is None:
            return True
        if permit.lowered and self._permits:
            permit.settle(_unused(request))
            return False
        self._permits[request.id] = permit
        return True

    def proceed(self, prepared: Prepared, request: Request) -> Finished | None:
        """Ask for a further step of a row; its end, if nothing is left for it."""
        if prepared.purse is None:
            return None
        try:
            permit = prepared.purse.permit(call_of(prepared, request, alone=False))
        except BudgetError as e:
            if not self._permits:
                self.why = str(e)
            return replace(_unused(request), finish_reason="budget", notes=(str(e),))
        if permit is not None:
            self._permits[request.id] = permit
        return None

    def lowered(self, request: Request) -> Request:
        """The request with what its permit leaves it."""
        permit = self._permits.get(request.id)
        if permit is None:
            return request
        given = permit.request
        sampling = replace(request.sampling, max_tokens=given.sampling.max_tokens)
        seconds = [s for s in (request.deadline_s, given.deadline_s) if s is not None]
        return replace(request, sampling=sampling, deadline_s=min(seconds, default=None))

    def settle(self, finished: Finished) -> Finished:
        """Book what a row took; its end as it is told."""
        permit = self._permits.pop(finished.request_id, None)
        return finished if permit is None else permit.settle(finished)

    def broken_off(self, request_id: str, text: str, reasoning: str, seconds: float) -> None:
        """Book what a row took that has no end."""
        permit = self._permits.pop(request_id, None)
        if permit is not None:
            permit.settle(broken_off(permit.request, text, reasoning, seconds))

    def give_back(self, request: Request) -> None:
        """A row needs no model after all."""
        self.settle(_unused(request))

    def close(self) -> None:
        """Give back what rows had reserved that never began."""
        for permit in self._permits.values():
            permit.settle(_unused(permit.request))
        self._permits.clear()


def _passages(prepared: Prepared) -> int:
    """Tokens of passages that a row is yet to be given, at most."""
    documents = prepared.options.documents
    if documents is None:
        return 0
    return documents.tokens or prepared.engine.context_length // 4


def _unused(request: Request) -> Finished:
    """The end of a request that was not made."""
    return Finished(request.id, "", "error", Usage(), Timing(), request.sampling.seed or 0)
