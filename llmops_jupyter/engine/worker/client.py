"""An engine that runs in a worker process."""

from __future__ import annotations

import queue
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Event, Prompt, Request
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.answers import Answers
from llmops_jupyter.engine.worker.channel import Call, Channel, wait
from llmops_jupyter.engine.worker.folder import DoubtError
from llmops_jupyter.engine.worker.link import HANDSHAKE_S
from llmops_jupyter.engine.worker.process import Process, death
from llmops_jupyter.engine.worker.spec import Spec
from llmops_jupyter.errors import LLMOpsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.engine.worker.link import Connection

# Texts of one call: an interrupt then leaves the worker little to finish for nobody, and no message
# grows too long.
PART = 64
STOP_S = 5.0

Adapters = Sequence[tuple[str, float]]


class WorkerEngine:
    """The engine of a worker process, shared or private; see the protocol.

    Args:
        conn: past its authentication, with the hello sent.
        spec: what the worker loads.
        process: the worker, if this process started it.
        log: the log file of a shared worker.
        tidy: called at the end if the worker died, to remove what it left behind.
        notes: why this is not the kind of worker that was asked for.

    Raises:
        DoubtError: the worker does not let this client in.
    """

    provider = "llama.cpp"
    streams = True
    context_length = 0

    def __init__(
        self,
        conn: Connection,
        spec: Spec,
        *,
        process: Process | None = None,
        log: Path | None = None,
        tidy: Callable[[], None] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.model_name = spec.model_name
        self.model_digest = spec.model_digest
        self.notes = list(notes)
        self.pid = 0
        self.shared = False
        # Whether its load had failed before we came.
        self.failed = False
        self._rows = 1
        self._process = process
        self._tidy = tidy
        told = _Death(process, log)
        self._channel = Channel(conn, told.sentence)
        if process is not None:
            process.when_ended(self._channel.hang_up)
        # An engine that is forgotten without being closed must not keep its worker.
        self._finalizer = weakref.finalize(self, self._channel.close)
        self._finalizer.atexit = False
        try:
            self._enter()
        except BaseException:
            self._channel.close()
            raise
        told.pid = self.pid

    def _enter(self) -> None:
        try:
            message = wait(self._channel.control, HANDSHAKE_S)
        except queue.Empty:
            raise DoubtError("it does not answer") from None
        if "welcome" not in message:
            raise DoubtError(str(message.get("refused", "it does not let this process in")))
        self.pid, self.shared = int(message["pid"]), bool(message["shared"])
        self.failed = bool(message["failed"])

    def wait_loaded(self) -> None:
        """Wait until the model is loaded; if that fails, close and raise the worker's error."""
        try:
            message = wait(self._channel.control)
            if "failed" in message:
                raise wire.read_error(message["failed"])
            if "loaded" not in message:
                raise self._channel.error
            facts = message["loaded"]
            self.provider, self.streams = str(facts["provider"]), bool(facts["streams"])
            self.context_length, self._rows = int(facts["context_length"]), int(facts["rows"])
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the worker can still be asked; if not, a new engine is needed."""
        return self._channel.alive

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """See the protocol. If the worker dies, each open request ends with what there is of it."""
        return Answers(self._channel, requests, 2 * self._rows)

    def score(
        self, items: Sequence[tuple[Prompt, Sequence[str]]], adapters: Adapters = ()
    ) -> list[list[float]]:
        given = wire.adapters_value(adapters)
        asked = [[wire.prompt_value(prompt), list(labels)] for prompt, labels in items]
        parts = ({"items": part, "adapters": given} for part in _parts(asked))
        return [scores for made in self._in_parts("score", parts) for scores in made]

    def logprobs(self, texts: Sequence[str], adapters: Adapters = ()) -> list[NDArray[np.float32]]:
        given = wire.adapters_value(adapters)
        parts = ({"texts": part, "adapters": given} for part in _parts(texts))
        made = self._in_parts("logprobs", parts)
        return [wire.read_array(values) for part in made for values in part]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        parts = ({"texts": part} for part in _parts(texts))
        made = [wire.read_array(values) for values in self._in_parts("embed", parts)]
        return made[0] if len(made) == 1 else np.concatenate(made)

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        parts = ({"query": query, "texts": part} for part in _parts(texts))
        return [float(score) for made in self._in_parts("rerank", parts) for score in made]

    def _in_parts(self, method: str, parts: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
        """The results of calls, two of which are out at a time so that the engine's batches stay full."""
        out: deque[Call] = deque()
        try:
            for args in parts:
                out.append(self._channel.open(method, dict(args)))
                if len(out) > 1:
                    yield _first(out)
            while out:
                yield _first(out)
        finally:
            for call in out:
                call.close()

    def count_tokens(self, prompt: Prompt) -> int:
        return int(self._channel.call("count_tokens", {"prompt": wire.prompt_value(prompt)}))

    def status(self) -> Mapping[str, Any]:
        """What is loaded in which worker, who uses it, and its memory in bytes."""
        try:
            told = self._channel.call("status", {})
        except LLMOpsError as e:
            told = {"worker": "gone", "state": str(e)}
        notes = [*told.get("notes", ()), *self.notes]
        return {**told, "model": self.model_name, **({"notes": notes} if notes else {})}

    def forget_prefixes(self) -> None:
        """Forget the beginnings of prompts that the worker keeps in memory."""
        self._channel.call("forget_prefixes", {})

    def close(self) -> None:
        """Give the worker back; a private one ends. Safe to call twice."""
        died = self._channel.lost
        self._channel.close()
        if self._finalizer.detach() is None:
            return
        if died and self._tidy is not None:
            self._tidy()
        if self._process is not None and not self.shared:
            # The next model is weighed against the memory that this one leaves.
            self._process.stop(STOP_S)


class _Death:
    """Tells how a worker ended."""

    def __init__(self, process: Process | None, log: Path | None) -> None:
        self.pid = process.pid if process is not None else 0
        self._process = process
        self._log = log

    def sentence(self) -> str:
        return death(self._process, self.pid, self._log)


def _first(out: deque[Call]) -> Any:
    """The result of the oldest call, which is taken off."""
    try:
        return out[0].result()
    finally:
        out.popleft().close()


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    """Slices; an empty sequence is one, as the engine says what it makes of it."""
    for begin in range(0, max(1, len(values)), PART):
        yield list(values[begin : begin + PART])
