"""The server's side of a call: what an engine is asked, and the answer as JSON values."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmops_jupyter.engine.protocol import Engine, Finished, Request
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.wire import WireError
from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Timing, Usage

Post = Callable[[dict[str, Any]], None]
Args = Mapping[str, Any]

# Requests that may lie here unasked for; a client of ours never has so many.
MOST_AHEAD = 10_000


def _score(engine: Engine, args: Args) -> Any:
    pairs = [wire.sequence(item, "an item", 2) for item in wire.sequence(args["items"], "items")]
    items = [(wire.read_prompt(prompt), wire.texts(labels, "labels")) for prompt, labels in pairs]
    return engine.score(items, wire.read_adapters(args["adapters"]))


def _logprobs(engine: Engine, args: Args) -> Any:
    texts = wire.texts(args["texts"], "texts")
    found = engine.logprobs(texts, wire.read_adapters(args["adapters"]))
    return [wire.array_value(values) for values in found]


def _embed(engine: Engine, args: Args) -> Any:
    return wire.array_value(engine.embed(wire.texts(args["texts"], "texts")))


def _rerank(engine: Engine, args: Args) -> Any:
    found = engine.rerank(wire.text(args["query"], "query"), wire.texts(args["texts"], "texts"))
    return [float(x) for x in found]


def _count_tokens(engine: Engine, args: Args) -> Any:
    return engine.count_tokens(wire.read_prompt(args["prompt"]))


def _forget_prefixes(engine: Engine, _: Args) -> Any:
    forget = getattr(engine, "forget_prefixes", None)
    return None if forget is None else forget()


METHODS: Mapping[str, Callable[[Engine, Args], Any]] = {
    "score": _score,
    "logprobs": _logprobs,
    "embed": _embed,
    "rerank": _rerank,
    "count_tokens": _count_tokens,
    "forget_prefixes": _forget_prefixes,
}


def answer(engine: Engine, method: str, args: Args) -> Any:
    """The result of a call other than generate.

    Raises:
        OptionError: the arguments have the wrong kinds.
        LLMOpsError: what the engine raises.
    """
    try:
        return METHODS[method](engine, args)
    except (WireError, KeyError) as e:
        raise OptionError(f"{method} cannot use its arguments: {e}. Correct them.") from e


class Generation:
    """A running generate: requests come in one by one, events go out as they happen.

    When the engine has room and no request has come, 'want' asks the client for the next one.
    """

    def __init__(self, engine: Engine, post: Post) -> None:
        self._engine = engine
        self._post = post
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._stream: Any = None

    def feed(self, value: Mapping[str, Any]) -> None:
        """Take a request; one that cannot be used is answered with its error."""
        if self._requests.qsize() > MOST_AHEAD:
            raise WireError("more requests than were asked for")
        try:
            self._requests.put(wire.read_request(value))
        except WireError as e:
            error = OptionError(f"The request cannot be used: {e}. Correct it.")
            request_id = wire.text(value.get("id"), "id")
            failed = Finished(request_id, "", "error", Usage(), Timing(), 0, error=error)
            self._post({"event": wire.event_value(failed)})

    def end(self) -> None:
        """No request comes after this."""
        self._requests.put(None)

    def cancel(self) -> None:
        """Drop what runs, as soon as the engine notices."""
        self._cancelled.set()
        self._requests.put(None)
        # A stream that can be cancelled from another thread need not wait for its next event.
        cancel = getattr(self._stream, "cancel", None)
        if callable(cancel):
            cancel()

    def run(self) -> None:
        """Until the last event; raises what the engine raises."""
        self._stream = stream = self._engine.generate(self._iterate())
        try:
            for event in stream:
                if self._cancelled.is_set():
                    return
                self._post({"event": wire.event_value(event)})
        finally:
            close = getattr(stream, "close", None)
            if callable(close):
                close()

    def _iterate(self) -> Iterator[Request]:
        while not self._cancelled.is_set():
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                self._post({"want": True})
                request = self._requests.get()
            if request is None:
                return
            yield request
