"""llama.cpp in this process: batches of many requests, streamed, cancellable, seeded.

All native calls that compute are made by one owner thread. A thread that asks waits on a queue, so an
interrupt is served at once; the owner drops the request at its next step.
"""

from __future__ import annotations

import atexit
import functools
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.config import check_sampling
from llmops_jupyter.engine.adapters import checked
from llmops_jupyter.engine.context import Size
from llmops_jupyter.engine.cores import default_threads
from llmops_jupyter.engine.generation import Generation
from llmops_jupyter.engine.loaded import Loaded
from llmops_jupyter.engine.owner import CLOSED, Owner
from llmops_jupyter.engine.prefixes import Adapters as UsedAdapters
from llmops_jupyter.engine.protocol import Event, Finished, Prompt, Request
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.scoring import Labels, Passage, Result
from llmops_jupyter.engine.stream import Stream
from llmops_jupyter.engine.tokens import Tokenizer, label_tokens
from llmops_jupyter.errors import EngineError, LLMOpsError, ModelArchitectureError, OptionError
from llmops_jupyter.models import GGUFMetadata, read_metadata
from llmops_jupyter.records import Timing, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SEQUENCES = 256
DEFAULT_CONTEXT = 4096
Adapters = Sequence[tuple[str, float]]


class LlamaCppEngine:
    """A loaded GGUF model.

    Args:
        path: the file.
        model_name, model_digest: how traces and recordings name it.
        n_ctx: tokens that one request may have, prompt and answer; None takes the model's own, at most
            4,096.
        n_threads: None takes all physical cores.
        n_gpu_layers: None offloads all layers if the library can.
        rows: requests that run at once; None lets memory decide.
        n_batch: tokens that are computed at a time; None takes 512. Little memory makes it smaller.
        metadata: what the file's header says, as `GGUFMetadata.as_dict` gives it; None reads it.
        prefix_cache_mb: megabytes that states of prompts' beginnings may take on disk; 0 keeps none there.
            They are found by `model_digest`, which must be the file's sha256 then.

    Raises:
        ModelError, ModelMemoryError, MissingDependencyError: with what to do.
    """

    provider = "llama.cpp"
    streams = True

    def __init__(
        self,
        path: str | Path,
        *,
        model_name: str,
        model_digest: str,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int | None = None,
        rows: int | None = None,
        n_batch: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        prefix_cache_mb: int = 0,
    ) -> None:
        self.model_name = model_name
        self.model_digest = model_digest
        self.path = Path(path)
        self.metadata = (
            read_metadata(self.path) if metadata is None else GGUFMetadata.from_dict(metadata)
        )

        def load() -> Loaded:
            return Loaded(
                self.path,
                self.metadata,
                model_digest,
                n_threads=n_threads or default_threads(),
                submit=self._owner.submit,
                n_ctx=n_ctx,
                n_gpu_layers=n_gpu_layers,
                rows=rows,
                n_batch=n_batch,
                prefix_cache_mb=prefix_cache_mb,
            )

        self._start(load)

    def _start(self, load: Callable[[], Loaded]) -> None:
        """Load the model on the thread that will own it."""
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._loaded: Loaded | None = None
        self._owner = Owner(f"llmops-{self.model_name}", self._step)

        def keep() -> None:
            self._loaded = load()

        try:
            self._owner.call(keep)
        except BaseException:
            self._owner.close(self._free)
            raise
        _engines.add(self)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._open().tokenizer

    @property
    def size(self) -> Size:
        """Rows, cells and tokens that are computed at once."""
        return self._open().size

    @property
    def context_length(self) -> int:
        """Tokens that one request may have."""
        return self._open().context_length

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """Answers to the requests, batched with those of other callers; see the protocol."""
        return Stream(requests, self._submit, 2 * self.size.rows)

    def score(
        self, items: Sequence[tuple[Prompt, Sequence[str]]], adapters: Adapters = ()
    ) -> list[list[float]]:
        """Natural log-probability of each whole label as what comes after its prompt."""
        with self._guard:
            self._writing()
            split = [label_tokens(self.tokenizer, *item) for item in items]
        used, client = checked(adapters), object()
        return self._results(
            [
                functools.partial(_labels, base, labels, adapters=used, client=client)
                for base, labels in split
            ]
        )

    def logprobs(self, texts: Sequence[str], adapters: Adapters = ()) -> list[NDArray[np.float32]]:
        """Natural log-probability of each token of a text but the first, in windows of the context.

        In a text longer than the context, windows overlap by half and each token is judged with at least
        half a context before it.
        """
        import numpy as np

        with self._guard:
            self._writing()
        used, client = checked(adapters), object()
        windows = [self._windows(text) for text in texts]
        flat = [
            functools.partial(_passage, tokens, start, adapters=used, client=client)
            for parts in windows
            for tokens, start in parts
        ]
        results = iter(self._results(flat))
        return [
            np.array([x for _ in parts for x in next(results)], dtype=np.float32)
            for parts in windows
        ]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of unit length for each text; shape (len(texts), width)."""
        import numpy as np

        with self._guard:
            if self._open().ranks:
                raise ModelArchitectureError(
                    f"{self.model_name!r} is a reranker: it gives scores, not vectors. Choose an "
                    "embedding model, such as MiniLM or bge in GGUF."
                )
            tokenized = [self.tokenizer.to_embed(text) for text in texts]
        found = self._pooled(tokenized, rank=False)
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        unit: NDArray[np.float32] = found / np.maximum(norms, 1e-12)
        return unit

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query; only reranker models can tell.

        Raises:
            ModelArchitectureError: the model has no head for it.
        """
        with self._guard:
            loaded = self._open()
            if not loaded.ranks:
                raise ModelArchitectureError(
                    f"{self.model_name!r} is no reranker: its file has no ranking head. Choose a "
                    "reranker model, such as bge-reranker or jina-reranker in GGUF."
                )
            template = loaded.rerank_template()
            tokenized = [loaded.tokenizer.to_rerank(query, text, template) for text in texts]
        found = self._pooled(tokenized, rank=True)
        return [float(x) for x in found[:, 0]]

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of a text, or of messages in the chat template."""
        with self._guard:
            return self.tokenizer.count(prompt)

    def tokens(self, prompt: Prompt, prefill: str = "") -> list[int]:
        """Token ids of a text, or of messages in the chat template."""
        with self._guard:
            return self.tokenizer.tokens(prompt, prefill)

    def status(self) -> Mapping[str, Any]:
        """What is loaded and how, and what runs."""
        return {
            "model": self.model_name,
            "path": str(self.path),
            "engine": "llama.cpp",
            **self._open().status(),
        }

    def forget_prefixes(self) -> None:
        """Forget the beginnings of prompts that are kept in memory."""
        self._owner.call(self._open().scheduler.forget_prefixes)

    @property
    def alive(self) -> bool:
        """Whether it can be used: it is not closed."""
        return not self._closing.is_set()

    def close(self) -> None:
        """Free the model; running requests are cancelled. Safe to call twice."""
        self._closing.set()
        self._owner.close(self._free)
        _engines.discard(self)

    def leave(self) -> None:
        """As `close`, but nothing is freed: for a process that is about to end."""
        self._closing.set()
        self._owner.close(self._stop)
        _engines.discard(self)

    # In the callers' threads.

    def _submit(self, request: Request, put: Callable[[Event], None], client: object) -> Row | None:
        """A row for a request; one that cannot be used gets its end at once, and none."""
        asked = time.perf_counter()
        try:
            with self._guard:
                loaded = self._writing()
                check_sampling(request.sampling)
                if request.schema is not None and request.grammar is not None:
                    raise OptionError("Give a schema or a grammar, not both.")
                if request.tools and request.grammar is not None:
                    raise OptionError("Give tools or a grammar, not both.")
                used = checked(request.adapters)
                tokens = loaded.tokenizer.of_request(request)
            row = Generation(
                request,
                tokens,
                adapters=used,
                vocabulary=loaded.tokenizer.vocabulary,
                room=loaded.context_length - len(tokens),
                thought=loaded.tokenizer.thought_of(request),
                calling=loaded.tokenizer.calling_of(request),
                put=put,
                client=client,
            )
            row.asked = asked
            lane = loaded.exact if request.exact else loaded.scheduler
            self._owner.submit(lambda: lane.add(row))
        except LLMOpsError as e:
            seed = request.sampling.seed or 0
            took = Timing(time.perf_counter() - asked)
            put(Finished(request.id, "", "error", Usage(), took, seed, error=e))
            return None
        return row

    def _results(self, makers: Sequence[Callable[[Callable[[Result], None]], Row]]) -> list[Any]:
        """Run silent rows; their results in order.

        Raises:
            LLMOpsError: that of the first row that failed.
        """
        loaded = self._open()
        answers: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        found: list[Any] = [None] * len(makers)
        running: dict[int, Row] = {}
        begun = 0
        try:
            while begun < len(makers) or running:
                while begun < len(makers) and len(running) < 2 * loaded.size.rows:
                    row = makers[begun](functools.partial(_put, answers, begun))
                    running[begun] = row
                    self._owner.submit(functools.partial(loaded.scheduler.add, row))
                    begun += 1
                place, result = answers.get()
                del running[place]
                if isinstance(result, Exception):
                    raise result
                found[place] = result
        finally:
            for row in running.values():
                row.cancel()
        return found

    def _windows(self, text: str) -> list[tuple[list[int], int]]:
        """Token windows of a text with the index of the first token that each one judges."""
        tokens = self.tokens(text)
        if len(tokens) < 2:
            raise OptionError("A text needs two tokens at least to have log-probabilities.")
        length, half = self.context_length, self.context_length // 2
        if len(tokens) <= length:
            return [(tokens, 1)]
        found = [(tokens[:length], 1)]
        done = length
        while done < len(tokens):
            begin = done - half
            window = tokens[begin : begin + length]
            found.append((window, half))
            done = begin + len(window)
        return found

    def _pooled(self, tokenized: Sequence[Sequence[int]], *, rank: bool) -> NDArray[np.float32]:
        loaded, stopped = self._open(), self._closing.is_set
        return self._owner.call(lambda: loaded.pooled(tokenized, rank=rank, stopped=stopped))

    def _open(self) -> Loaded:
        if self._loaded is None or self._closing.is_set():
            raise EngineError(CLOSED)
        return self._loaded

    def _writing(self) -> Loaded:
        """What is loaded, if it is a model that writes."""
        loaded = self._open()
        if not loaded.writes:
            raise ModelArchitectureError(
                f"{self.model_name!r} makes vectors or scores of texts and writes none. Choose a model "
                "that generates: %model list"
            )
        return loaded

    # On the owner's thread.

    def _step(self) -> bool:
        loaded = None if self._closing.is_set() else self._loaded
        return loaded is not None and loaded.step()

    def _stop(self) -> None:
        if self._loaded is not None:
            self._loaded.stop(EngineError(CLOSED))

    def _free(self) -> None:
        self._stop()
        with self._guard:
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                loaded.free()


def _put(target: queue.SimpleQueue[Any], place: int, what: Any) -> None:
    target.put((place, what))


def _labels(
    base: Sequence[int],
    labels: Sequence[Sequence[int]],
    done: Callable[[Result], None],
    *,
    adapters: UsedAdapters,
    client: object,
) -> Row:
    return Labels(base, labels, done, adapters, client)


def _passage(
    tokens: Sequence[int],
    start: int,
    done: Callable[[Result], None],
    *,
    adapters: UsedAdapters,
    client: object,
) -> Row:
    return Passage(tokens, done, start=start, adapters=adapters, client=client)


_engines: weakref.WeakSet[LlamaCppEngine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # The native threads must have stopped before the interpreter takes the library away.
    for engine in list(_engines):
        engine.close()
