"""A model behind an OpenAI-compatible endpoint, as an engine.

All calls run on an event loop on a thread of the engine's own. The thread that asks waits on a queue, so an
interrupt is served at once; what it waited for is cancelled, which closes the connection and so tells the
server to stop.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter.config import check_sampling
from llmops_jupyter.engine.owner import CLOSED
from llmops_jupyter.engine.protocol import Event, Prompt, Request
from llmops_jupyter.engine.stream import Stream
from llmops_jupyter.errors import EngineError, LLMOpsError, OptionError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.prices import Price, price_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.engine.remote.answer import Answer
    from llmops_jupyter.engine.remote.flavours import Facts

# Tokens of context where neither the user nor the server says how many; most hosted models have as many.
UNKNOWN_CONTEXT = 131_072
TRIES = 6
TOTAL_S, IDLE_S = 600.0, 120.0

Adapters = Sequence[tuple[str, float]]
T = TypeVar("T")


class RemoteEngine:
    """A model that answers at an endpoint; see the protocol.

    The key is read from the environment at each call. It is neither kept nor shown.

    Args:
        endpoint: where it answers.
        model_name: how traces and recordings name it.
        tries: how often a call is made at most, if it fails for a reason that may pass.
        total_s: seconds for which an answer's beginning is waited while no other one goes on; a request's own
            deadline may be longer.
        idle_s: seconds without a byte after which an answer that began has failed.
    """

    streams = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model_name: str,
        tries: int = TRIES,
        total_s: float = TOTAL_S,
        idle_s: float = IDLE_S,
    ) -> None:
        from llmops_jupyter.engine.remote.calls import Calls
        from llmops_jupyter.engine.remote.loop import Loop

        self.endpoint = endpoint
        self.model_name = model_name
        self.model_digest = endpoint.digest
        self._copy = functools.partial(
            RemoteEngine,
            endpoint,
            model_name=model_name,
            tries=tries,
            total_s=total_s,
            idle_s=idle_s,
        )
        self._calls = Calls(endpoint, tries=tries, total_s=total_s, idle_s=idle_s)
        self._loop = Loop(f"llmops-{model_name}", self._calls.close)
        self._finalizer = weakref.finalize(self, self._loop.close)
        self._notes: dict[str, None] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the endpoint anew."""
        return self._copy, ()

    def __repr__(self) -> str:
        return f"RemoteEngine({self.endpoint.model!r} at {self.endpoint.url})"

    @property
    def alive(self) -> bool:
        """Whether it can be used: it is not closed."""
        return not self._loop.closed

    @property
    def provider(self) -> str:
        """The value of `gen_ai.provider.name`."""
        return self._facts().provider

    @property
    def context_length(self) -> int:
        """Tokens that one request may have: as set, else as the server says, else a common length."""
        set_here = self.endpoint.context_length
        return set_here or self._facts().context_length or UNKNOWN_CONTEXT

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """See the protocol; as many requests run at once as the endpoint may have."""
        self._facts()
        return Stream(requests, self._submit, self._calls.concurrency)

    def score(
        self, items: Sequence[tuple[Prompt, Sequence[str]]], adapters: Adapters = ()
    ) -> list[list[float]]:
        """For each (prompt, labels): the log-probability of the first token that tells each label apart.

        A label outside of the 20 likeliest tokens gets the least log-probability that was returned, which is
        an upper bound; `status` then has a note.

        Raises:
            EngineError: the endpoint returns no log-probabilities, or labels share their first token.
        """
        from llmops_jupyter.engine.remote import measures

        _no_adapters(adapters)
        found = self._wait(lambda: measures.score(self._calls, list(items)))
        bounds = sum(scores.bounds for scores in found)
        self._note(
            "Scores are those of the first token that tells labels apart, not of whole labels."
        )
        if bounds:
            self._note(
                "Some labels were not among the likeliest tokens; they got the least log-probability that "
                "was returned, which is an upper bound."
            )
        return [scores.values for scores in found]

    def logprobs(self, texts: Sequence[str], adapters: Adapters = ()) -> list[NDArray[np.float32]]:
        """See the protocol.

        Raises:
            EngineError: the endpoint does not echo prompts with their log-probabilities.
        """
        from llmops_jupyter.engine.remote import measures

        _no_adapters(adapters)
        return self._wait(lambda: measures.logprobs(self._calls, list(texts)))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        from llmops_jupyter.engine.remote import measures

        return self._wait(lambda: measures.embed(self._calls, list(texts)))

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        from llmops_jupyter.engine.remote import measures

        return self._wait(lambda: measures.rerank(self._calls, query, list(texts)))

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of a prompt; an estimate, of which `status` has a note, where the server does not count."""

        async def count() -> tuple[int, bool]:
            return await (await self._calls.tokens()).count(prompt)

        found, counted = self._wait(count)
        if not counted:
            self._note("Tokens of prompts are estimates: the endpoint does not count them.")
        return found

    def status(self) -> Mapping[str, Any]:
        """The endpoint, what it is and cannot do, and what became of the calls so far."""
        calls = self._calls
        told: dict[str, Any] = {
            "model": self.model_name,
            "id": self.endpoint.model,
            "url": self.endpoint.url,
        }
        if not self.alive:
            return {**told, "state": "closed"}
        facts = self._facts()
        told |= {
            "provider": facts.provider,
            "flavour": facts.flavour.name,
            "context": self.context_length,
            "concurrency": calls.concurrency,
            "running": calls.counts.running,
            "requests": calls.counts.requests,
            "retries": calls.counts.retries,
            "not supported": ", ".join(self._missing(facts)),
        }
        notes = [*self._found(facts), *self._notes]
        return {**told, **({"notes": notes} if notes else {})}

    def close(self) -> None:
        """Cancel what runs and close the connections. Safe to call twice."""
        self._finalizer()

    def _facts(self) -> Facts:
        return self._wait(self._calls.facts)

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of work on the loop; an interrupt of the wait cancels it."""
        from llmops_jupyter.engine.remote.faults import Fault

        future = self._loop.submit(work)
        error: LLMOpsError
        try:
            return future.result()
        except Fault as e:
            error = e.error
        except CancelledError:
            error = EngineError(CLOSED)
        finally:
            future.cancel()
        raise error

    def _submit(self, request: Request, put: Callable[[Event], None], client: object) -> _Running:  # noqa: ARG002
        from llmops_jupyter.engine.remote.answer import Answer
        from llmops_jupyter.engine.remote.body import draw_seed

        answer = Answer(request, draw_seed(request), put)
        try:
            request = replace(request, sampling=check_sampling(request.sampling))
        except OptionError as e:
            answer.finish("error", e)
            return _Running(None)
        answer, price = Answer(request, answer.seed, put), self._price()
        work = functools.partial(self._calls.answer, request, answer, price)
        running = _Running(self._loop.submit(work))
        running.then(functools.partial(_ended, running, answer, price))
        return running

    def _price(self) -> Price | None:
        try:
            return price_of(self.endpoint)
        except OptionError as e:
            self._note(str(e))
            return None

    def _note(self, note: str) -> None:
        self._notes[note] = None

    def _missing(self, facts: Facts) -> list[str]:
        """What a local engine does and this endpoint does not."""
        flavour = facts.flavour
        known = {"top_k", "min_p", "repeat_penalty", "penalty_window"} - set(flavour.settings)
        lacks = sorted(known)
        lacks += flavour.ignored
        lacks += [] if flavour.grammar else ["grammars"]
        lacks += [] if flavour.continues else ["going on with a begun answer"]
        lacks += [] if flavour.tokenizer else ["counting tokens"]
        return [*lacks, "adapters", "exact"]

    def _found(self, facts: Facts) -> Iterator[str]:
        if not facts.answered:
            yield f"{self.endpoint.url} did not answer when it was asked what it is."
        if facts.models and self.endpoint.model not in facts.models:
            names = ", ".join(facts.models[:5])
            yield f"The server does not list the model {self.endpoint.model!r}; it lists {names}."
        if self.endpoint.exposed:
            yield "The key goes over the network without encryption; use https://."
        if facts.flavour.rows is not None and self.endpoint.concurrency > facts.flavour.rows:
            yield (
                "This server works on one request at a time. Start it with --interrupt_requests False if "
                "several notebooks use it, or take llama-server."
            )
        if not (self.endpoint.context_length or facts.context_length):
            yield "How long the context is is not known; %model add … --context says it."


class _Running:
    """A request on its way, as `Stream` knows it."""

    def __init__(self, future: Future[None] | None) -> None:
        self._future = future
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        if self._future is not None:
            self._future.cancel()

    def then(self, call: Callable[[Future[None]], None]) -> None:
        if self._future is not None:
            self._future.add_done_callback(call)


def _ended(running: _Running, answer: Answer, price: Price | None, future: Future[None]) -> None:
    """See to it that a request always ends, also if the engine was closed or failed in itself."""
    if running.cancelled and future.cancelled():
        answer.finish("interrupted", price=price)
    elif future.cancelled():
        answer.finish("error", EngineError(CLOSED), price=price)
    elif (error := future.exception()) is not None:
        answer.finish(
            "error",
            EngineError(f"The call failed: {type(error).__name__}: {error}. Run it again."),
            price=price,
        )


def _no_adapters(adapters: Adapters) -> None:
    if adapters:
        raise OptionError(
            "An endpoint runs the model that it was started with, so no adapter can be added to a call. Use a "
            "local model for it."
        )
