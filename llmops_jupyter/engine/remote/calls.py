"""Calls of one endpoint: as many at once as it may have, tried again where that helps."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.remote import body as bodies
from llmops_jupyter.engine.remote.answer import Answer
from llmops_jupyter.engine.remote.dialect import Dialect
from llmops_jupyter.engine.remote.faults import Fault, broken
from llmops_jupyter.engine.remote.flavours import (
    PROVIDERS,
    Facts,
    facts,
    hosted,
)
from llmops_jupyter.engine.remote.pace import Gate, Slots, backoff
from llmops_jupyter.engine.remote.tokens import Tokens
from llmops_jupyter.engine.remote.transport import Transport
from llmops_jupyter.engine.remote.watch import Pulse, SilentError, while_alive
from llmops_jupyter.errors import EngineError, LLMOpsError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.prices import Price

T = TypeVar("T")
PROBE_S = 5.0
TOO_MANY = 429
# A server that asks for a longer pause, or takes no request of ours for as long, is not waited for.
LONGEST_WAIT_S = 90.0
# Where there never was a connection, the address is more likely to be wrong than the server to be back soon.
UNMET_TRIES = 2


@dataclass
class Counts:
    """What became of the calls so far."""

    requests: int = 0
    running: int = 0
    retries: int = 0


class Calls:
    """All that happens on the event loop of an engine.

    Args:
        endpoint: whom to call.
        tries: how often a call is made at most.
        total_s: seconds for which an answer's beginning is waited while no other one of the endpoint goes on.
        idle_s: seconds without a byte after which an answer that began has failed.
    """

    def __init__(self, endpoint: Endpoint, *, tries: int, total_s: float, idle_s: float) -> None:
        self.endpoint = endpoint
        self.counts = Counts()
        self.transport = Transport(endpoint, total_s)
        self._tries = tries
        self._total_s = total_s
        self._idle_s = idle_s
        self._served = 0
        self._pieces = Pulse()
        self._facts: Facts | None = None
        self._probing = asyncio.Lock()
        self._dialects: dict[str, Dialect] = {}
        self._slots = Slots(endpoint.concurrency)
        self._gate = Gate()
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    @property
    def concurrency(self) -> int:
        """Requests that may run at once."""
        return self._slots.count

    async def facts(self) -> Facts:
        """What is known of the endpoint; it is asked once, and again only if it was not reached."""
        if self._facts is None or not self._facts.answered:
            async with self._probing:
                if self._facts is None or not self._facts.answered:
                    self._facts = await self._probe()
                    rows = self._facts.flavour.rows
                    self._slots.count = min(self.endpoint.concurrency, rows or 1 << 30)
        return self._facts

    async def dialect(self) -> Dialect:
        flavour = (await self.facts()).flavour
        return self._dialects.setdefault(flavour.name, Dialect(flavour))

    async def answer(self, request: Request, answer: Answer, price: Price | None) -> None:
        """Bring a request to its end, which `answer` hands out."""
        try:
            await asyncio.wait_for(self._in_slot(request, answer), request.deadline_s)
        except asyncio.TimeoutError:
            answer.finish("deadline", price=price)
        except LLMOpsError as e:
            answer.finish("error", e, price=price)
        else:
            answer.finish(answer.reason or "stop", price=price)

    async def ask(self, url: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer of a call.

        Raises:
            Fault: of its last try.
        """
        await self._slots.take(interactive=False)
        self._begin()
        try:
            return await self._again(lambda: self.transport.post(url, body), lambda: True)
        finally:
            self._end()

    async def each(self, jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """The results of jobs that run together; the first failure ends all."""
        tasks = [asyncio.ensure_future(job()) for job in jobs]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def tokens(self) -> Tokens:
        return Tokens(self.endpoint, (await self.facts()).flavour, self.ask)

    async def close(self) -> None:
        await self.transport.close()

    async def _probe(self) -> Facts:
        if self.endpoint.host in PROVIDERS:
            found = facts(self.endpoint, {})
            assert hosted(self.endpoint) is not None
            return found
        listed: Any = None
        try:
            listed = await asyncio.wait_for(
                self.transport.get(f"{self.endpoint.url}/models"), PROBE_S
            )
        except Fault as e:
            listed = None if e.status is None else {}
        except (asyncio.TimeoutError, EngineError):
            pass
        return facts(self.endpoint, listed)

    async def _in_slot(self, request: Request, answer: Answer) -> None:
        bodies.check(request)
        dialect = await self.dialect()
        try:
            # These calls take slots of their own.
            bias = await (await self.tokens()).bias(request.sampling.logit_bias)
            await self._slots.take(interactive=request.interactive)
            self._begin()
            try:
                await self._answered(request, answer, dialect, bias)
            finally:
                self._end()
        except Fault as e:
            raise e.error from None

    async def _answered(
        self, request: Request, answer: Answer, dialect: Dialect, bias: Mapping[int, float]
    ) -> None:
        """Send a request, in another form if the server refuses a field, until it is answered."""
        while True:
            call = bodies.build(self.endpoint.model, request, dialect, answer.seed, bias)

            async def once(call: bodies.Call = call) -> None:
                answer.expect(call)
                await self._streamed(answer, call)

            try:
                await self._again(once, lambda: not answer.read)
            except Fault as e:
                if answer.began:
                    raise self._kept(answer, e) from None
                if dialect.learn(e, call.body):
                    continue
                raise
            if answer.unheld:
                dialect.ignores_schemas()
                if not answer.read:
                    continue
            return

    async def _streamed(self, answer: Answer, call: bodies.Call) -> None:
        """One try: the answer ends properly, or a fault says why not."""
        fault: Fault | None = None
        whole = False
        pulse, url = Pulse(), f"{self.endpoint.url}{call.path}"
        # Who set a deadline has said how long it may take.
        patience_s = max(self._total_s, answer.request.deadline_s or 0)

        def take(chunk: Mapping[str, Any]) -> bool:
            self._pieces.beat()
            return answer.take(chunk)

        def left_s() -> float:
            if answer.began:
                return self._idle_s - pulse.silence_s
            # It may be busy with other requests of ours, read a long prompt, or have the model think.
            return patience_s - min(pulse.age_s, self._pieces.silence_s)

        work = self.transport.stream(url, call.body, take, pulse)
        try:
            whole = await while_alive(work, left_s, self._idle_s)
        except Fault as e:
            fault = e
        except SilentError:
            fault = self._silent(began=answer.began)
        if answer.reason is not None and (fault is None or fault.retry):
            return
        if fault is None:
            if whole and answer.began and (await self.facts()).flavour.rows is None:
                call.notes.append("The server did not say why the answer ended.")
                return
            fault = self._cut()
        raise fault

    async def _again(self, once: Callable[[], Awaitable[T]], may: Callable[[], bool]) -> T:
        """Try until it works, at most so often, with pauses between."""
        tries, served, began = 0, self._served, time.monotonic()
        while True:
            await self._gate.wait()
            tries += 1
            try:
                found = await once()
            except Fault as e:
                fault = e
            else:
                self._served += 1
                return found
            if fault.status == TOO_MANY and self._served > served:
                # Others got through in the meantime, so that its turn will come too.
                tries, served, began = 1, self._served, time.monotonic()
            if not fault.retry or not may() or self._spent(fault, tries, began):
                raise self._told(fault, tries)
            self.counts.retries += 1
            if fault.wait_s:
                self._gate.shut(fault.wait_s)
                await self._gate.wait()
            await asyncio.sleep(backoff(tries, self._random))

    def _spent(self, fault: Fault, tries: int, began: float) -> bool:
        """Whether a call that failed so, after so many tries since a time, is given up."""
        if (fault.wait_s or 0) > LONGEST_WAIT_S:
            return True
        if fault.status == TOO_MANY:
            # Limits are often those of a minute.
            return tries >= self._tries and time.monotonic() - began >= LONGEST_WAIT_S
        met = fault.met or self.transport.reached
        return tries >= (self._tries if met else min(self._tries, UNMET_TRIES))

    def _begin(self) -> None:
        self.counts.requests += 1
        self.counts.running += 1

    def _end(self) -> None:
        self.counts.running -= 1
        self._slots.give()

    def _told(self, fault: Fault, tries: int) -> Fault:
        """The fault, with what was done about it."""
        words = f"{fault.error}"
        if tries > 1:
            words += f" It was tried {tries} times."
        if (fault.wait_s or 0) > LONGEST_WAIT_S:
            words += f" It asks to wait {fault.wait_s:,.0f} s."
        fault.error = type(fault.error)(words)
        return fault

    def _kept(self, answer: Answer, fault: Fault) -> Fault:
        said = f"{fault.error} The answer broke off {answer.extent}."
        return Fault(type(fault.error)(said), status=fault.status)

    def _cut(self) -> Fault:
        advice = "Run it again"
        if self._slots.count == 1 and self.endpoint.concurrency > 1:
            advice = "Start the server with --interrupt_requests False, and run it again"
        return Fault(
            EngineError(f"{self.endpoint.url} ended the answer before it was complete. {advice}."),
            retry=True,
        )

    def _silent(self, *, began: bool) -> Fault:
        if began:
            return broken(self.endpoint, f"fell silent for {self._idle_s:,.0f} s within its answer")
        return Fault(
            EngineError(
                f"{self.endpoint.url} did not begin to answer within {self._total_s:,.0f} s. See whether it is "
                "overloaded, give it longer with --timeout, or run it again."
            )
        )
