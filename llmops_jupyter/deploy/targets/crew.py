"""Actors that have one model each: requests are handed out as they get free, and those of a lost one to the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.deploy.targets.cluster import told
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DeployError, EngineError
from llmops_jupyter.records import Timing, Usage

# Requests that an actor has at once: its engine batches them, and none waits long for a free place.
TOGETHER = 8
# How often one request may be on an actor that is lost before it is held to be the reason. The last time it is there alone,
# so that a request that kills its actor takes none along that was beside it.
TRIES = 3
# Seconds without any actor before the work is given up.
PATIENCE_S = 120.0
TICK_S = 1.0


@dataclass(eq=False)
class _Member:
    """An actor; `ready` is what it says once the model is loaded, None from then on."""

    actor: Any
    ready: Any
    busy: int = 0


@dataclass(eq=False)
class _Flight:
    """A request that is being answered, or texts that are being embedded; `places` are those that it takes of its actor."""

    member: _Member
    work: Any
    tries: int = 1
    places: int = 1


class Crew:
    """Actors with one model; `Computers`.

    Args:
        ray: the library.
        make: makes an actor that does so many things at once.
        size: how many there are to be.
    """

    def __init__(self, ray: Any, make: Callable[[int], Any], size: int) -> None:
        self._ray, self._make = ray, make
        self._members: list[_Member] = []
        self._spare = 2 * size + TRIES  # actors that may be made for lost ones
        self._facts: dict[str, Any] = {}
        self._fault: BaseException | None = None
        for _ in range(size):
            self._add()

    def facts(self) -> dict[str, Any]:
        """What the first one says that has the model.

        Raises:
            DeployError: none could load it, or no node has room.
        """
        began = time.monotonic()
        while not self._facts:
            self._look([])
            self._check(began)
        return self._facts

    def answers(self, requests: Iterable[Request]) -> Iterator[Finished]:
        """The end of each request, as they come."""

        def begin(actor: Any, request: Request) -> Any:
            return actor.answer.remote(request)

        for flight, result in self._work(iter(requests), begin):
            if isinstance(result, Finished):
                yield result
            else:
                yield _failed(flight.work, result)

    def embed(self, texts: Sequence[str]) -> Any:
        """One vector for each text; those that are ready share the texts."""
        import numpy as np

        ready = max(1, sum(m.ready is None for m in self._members))
        size = max(1, -(-len(texts) // ready))
        parts = [(at, list(texts[at : at + size])) for at in range(0, len(texts), size)]

        def begin(actor: Any, part: tuple[int, list[str]]) -> Any:
            return actor.embed.remote(part[1])

        found = {}
        for flight, result in self._work(iter(parts), begin):
            if isinstance(result, BaseException):
                raise told(result)
            found[flight.work[0]] = result
        return np.concatenate([found[at] for at, _ in parts])

    def close(self) -> None:
        """Let the actors go, with what they are at."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members.clear()

    def _work(
        self, todo: Iterator[Any], begin: Callable[[Any, Any], Any]
    ) -> Iterator[tuple[_Flight, Any]]:
        """Everything that is to be done with its result, which may be an error, as it comes."""
        flying: dict[Any, _Flight] = {}
        again: deque[_Flight] = deque()
        since = time.monotonic()
        try:
            while self._hand_out(todo, again, flying, begin):
                done = self._look(list(flying))
                if done or any(m.ready is None for m in self._members):
                    since = time.monotonic()
                self._check(since)
                for ref in done:
                    flight = flying.pop(ref)
                    flight.member.busy -= flight.places
                    result = self._taken(ref, flight)
                    if result is None:
                        again.append(flight)
                    else:
                        yield flight, result
        finally:
            for ref in flying:
                self._ray.cancel(ref, recursive=False)

    def _hand_out(
        self,
        todo: Iterator[Any],
        again: deque[_Flight],
        flying: dict[Any, _Flight],
        begin: Callable[[Any, Any], Any],
    ) -> bool:
        """Give work to whoever has room, the least busy first; whether something is still to be done."""
        while True:
            places = TOGETHER if again and again[0].tries + 1 == TRIES else 1
            free = [m for m in self._members if m.ready is None and m.busy + places <= TOGETHER]
            if not free:
                return True
            member = min(free, key=lambda m: m.busy)
            if again:
                flight = again.popleft()
                flight.member, flight.tries, flight.places = member, flight.tries + 1, places
            else:
                try:
                    flight = _Flight(member, next(todo))
                except StopIteration:
                    return bool(flying)
            member.busy += flight.places
            flying[begin(member.actor, flight.work)] = flight

    def _look(self, refs: list[Any]) -> list[Any]:
        """Wait a moment; what has come of `refs`. Actors that got ready are noted."""
        getting = {m.ready: m for m in self._members if m.ready is not None}
        every = [*refs, *getting]
        if not every:
            time.sleep(TICK_S)
            return []
        done, _ = self._ray.wait(every, num_returns=1, timeout=TICK_S)
        if done:
            more, _ = self._ray.wait(every, num_returns=len(every), timeout=0)
            done = list({*done, *more})
        for ref in done:
            if ref in getting:
                self._got_ready(getting[ref])
        return [ref for ref in done if ref not in getting]

    def _got_ready(self, member: _Member) -> None:
        try:
            self._facts = self._ray.get(member.ready)
            member.ready = None
        except self._ray.exceptions.RayError as e:
            self._fault = e
            self._ray.kill(member.actor)
            self._lose(member, replace=isinstance(e, self._lost()))

    def _taken(self, ref: Any, flight: _Flight) -> Any:
        """The result of one piece of work, or its error; None if it is to be done again."""
        ray = self._ray
        try:
            return ray.get(ref)
        except self._lost() as e:
            self._lose(flight.member, replace=True)
            if flight.tries < TRIES:
                return None
            return EngineError(
                f"Its node was lost {TRIES} times while it was answered ({type(e).__name__}). Run it without --on, or on "
                "nodes with more memory."
            )
        except ray.exceptions.RayError as e:
            return told(e)

    def _lost(self) -> tuple[type[BaseException], ...]:
        """Errors that say that an actor or its node is gone."""
        known = self._ray.exceptions
        return (
            known.RayActorError,
            known.ObjectLostError,
            known.NodeDiedError,
            known.WorkerCrashedError,
        )

    def _lose(self, member: _Member, *, replace: bool) -> None:
        if member not in self._members:
            return
        self._members.remove(member)
        if replace and self._spare:
            self._spare -= 1
            self._add()

    def _add(self) -> None:
        actor = self._make(TOGETHER)
        self._members.append(_Member(actor, actor.facts.remote()))

    def _check(self, since: float) -> None:
        """Give up where nobody is left to work.

        Raises:
            DeployError: with what the last one said.
        """
        if not self._members:
            assert self._fault is not None
            raise told(self._fault) from self._fault
        ready = any(m.ready is None for m in self._members)
        if not ready and time.monotonic() - since > PATIENCE_S:
            raise DeployError(
                f"No node of the cluster took a model within {PATIENCE_S:.0f} s: each needs a CPU that nobody else holds "
                "(ray status). What has its answers is kept; run it again to go on."
            )


def _failed(request: Request, error: BaseException) -> Finished:
    """The end of a request that has no answer."""
    made = error if isinstance(error, Exception) else EngineError(str(error))
    return Finished(
        request.id, "", "error", Usage(), Timing(), request.sampling.seed or 0, error=made
    )
