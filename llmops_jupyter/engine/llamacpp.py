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
from llmops_jupyter.engine import native, sizing
from llmops_jupyter.engine.adapters import LoadedAdapters, checked
from llmops_jupyter.engine.context import Context, Size
from llmops_jupyter.engine.cores import default_threads
from llmops_jupyter.engine.embedding import Embedder, rerank_tokens
from llmops_jupyter.engine.exact import CHUNK, ExactLane
from llmops_jupyter.engine.generation import Generation
from llmops_jupyter.engine.owner import Owner
from llmops_jupyter.engine.protocol import Event, Finished, Prompt, Request
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.scheduler import NODES, SPARE, Scheduler
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
    ) -> None:
        self.model_name = model_name
        self.model_digest = model_digest
        self.path = Path(path)
        self.metadata = (
            read_metadata(self.path) if metadata is None else GGUFMetadata.from_dict(metadata)
        )
        self._threads = n_threads or default_threads()
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._model: Any = None
        self._context: Context | None = None
        self._embedders: dict[bool, Embedder] = {}
        self._owner = Owner(f"llmops-{model_name}", self._step)
        try:
            self._owner.call(lambda: self._load(n_ctx, n_gpu_layers, rows, n_batch))
        except BaseException:
            self._owner.close(self._free)
            raise
        _open.add(self)

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """Answers to the requests, batched with those of other callers; see the protocol."""
        self._check_open()
        return Stream(requests, self._submit, 2 * self.size.rows)

    def score(
        self, items: Sequence[tuple[Prompt, Sequence[str]]], adapters: Adapters = ()
    ) -> list[list[float]]:
        """Natural log-probability of each whole label as what comes after its prompt."""
        with self._guard:
            self._check_open()
            split = [label_tokens(self.tokenizer, *item) for item in items]
        used, client = checked(tuple(adapters)), object()
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

        used, client = checked(tuple(adapters)), object()
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
            self._check_open()
            tokenized = [self.tokenizer.to_embed(text) for text in texts]
        found = self._owner.call(lambda: self._pooled(tokenized, rank=False))
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        unit: NDArray[np.float32] = found / np.maximum(norms, 1e-12)
        return unit

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query; only reranker models can tell.

        Raises:
            ModelArchitectureError: the model has no head for it.
        """
        lib = native.library()
        with self._guard:
            self._check_open()
            if self._pooling_of_file() != int(lib.LLAMA_POOLING_TYPE_RANK):
                raise ModelArchitectureError(
                    f"{self.model_name!r} is no reranker: its file has no ranking head. Choose a "
                    "reranker model, such as bge-reranker or jina-reranker in GGUF."
                )
            template = lib.llama_model_chat_template(self._model, b"rerank")
            shape = None if template is None else template.decode("utf-8", "replace")
            vocabulary = self.tokenizer.vocabulary
            tokenized = [rerank_tokens(vocabulary, query, text, shape) for text in texts]
            for tokens in tokenized:
                self.tokenizer.check_embedding(len(tokens))
        found = self._owner.call(lambda: self._pooled(tokenized, rank=True))
        return [float(x) for x in found[:, 0]]

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of a text, or of messages in the chat template."""
        with self._guard:
            self._check_open()
            return self.tokenizer.count(prompt)

    def tokens(self, prompt: Prompt, prefill: str = "") -> list[int]:
        """Token ids of a text, or of messages in the chat template."""
        with self._guard:
            self._check_open()
            return self.tokenizer.tokens(prompt, prefill)

    def status(self) -> Mapping[str, Any]:
        """What is loaded and how, and what runs."""
        lib, size, scheduler = native.library(), self.size, self._scheduler
        cells = scheduler.context.cells
        rate, reading = scheduler.tokens_per_s, scheduler.pace.tokens_per_s
        return {
            "model": self.model_name,
            "path": str(self.path),
            "engine": "llama.cpp",
            "threads": self._threads,
            "context": self.context_length,
            "rows": f"{len(scheduler.active)} of {size.rows}",
            "waiting": len(scheduler.waiting) + len(self._exact.waiting),
            "cells": f"{cells.size - cells.free} of {cells.size}",
            "kept prefixes": len(scheduler.prefixes.kept),
            "tokens_per_s": None if rate is None else round(rate, 1),
            "reading_tokens_per_s": None if reading is None else round(reading, 1),
            "memory kind": self._capability.kind,
            "gpu offload": bool(lib.llama_supports_gpu_offload()),
            "chat template": self.tokenizer.format.source,
            "vocabulary": self.tokenizer.vocabulary.size,
        }

    def close(self) -> None:
        """Free the model; running requests are cancelled. Safe to call twice."""
        self._closing.set()
        self._owner.close(self._free)
        _open.discard(self)

    # In the callers' threads.

    def _submit(self, request: Request, put: Callable[[Event], None], client: object) -> Row | None:
        """A row for a request; one that cannot be used gets its end at once, and none."""
        asked = time.perf_counter()
        try:
            with self._guard:
                self._check_open()
                check_sampling(request.sampling)
                if request.schema is not None and request.grammar is not None:
                    raise OptionError("Give a schema or a grammar, not both.")
                checked(request.adapters)
                tokens = self.tokenizer.of_request(request)
            row = Generation(
                request,
                tokens,
                vocabulary=self.tokenizer.vocabulary,
                room=self.context_length - len(tokens),
                put=put,
                client=client,
            )
            row.asked = asked
            lane = self._exact if request.exact else self._scheduler
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
        answers: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        found: list[Any] = [None] * len(makers)
        running: dict[int, Row] = {}
        begun = 0
        try:
            while begun < len(makers) or running:
                while begun < len(makers) and len(running) < 2 * self.size.rows:
                    row = makers[begun](functools.partial(_put, answers, begun))
                    running[begun] = row
                    self._owner.submit(functools.partial(self._scheduler.add, row))
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

    def _check_open(self) -> None:
        if self._model is None or self._closing.is_set():
            raise EngineError("This engine is closed. Open the workspace again with lo.open().")

    # On the owner's thread.

    def _load(
        self, n_ctx: int | None, n_gpu_layers: int | None, rows: int | None, n_batch: int | None
    ) -> None:
        self._model = native.load_model(self.path, n_gpu_layers)
        vocabulary = native.Vocabulary(self._model)
        trained = int(native.library().llama_model_n_ctx_train(self._model))
        self.context_length = n_ctx or min(trained, DEFAULT_CONTEXT)
        self.size = sizing.size_for(self.metadata, self.context_length, rows, batch=n_batch)
        sequences = min(MAX_SEQUENCES, self.size.rows + SPARE + NODES)
        self._adapters = LoadedAdapters(self._model, self.metadata.architecture)
        self._context = context = self._make_context(self.size, sequences, vocabulary.size)
        self._capability = context.capability
        self.tokenizer = Tokenizer(vocabulary, self.context_length)
        self._scheduler = Scheduler(context, self.size.rows, self._adapters.pairs)
        alone = Size(1, self.context_length, CHUNK, 1)
        self._exact = ExactLane(
            lambda: self._make_context(alone, 1, vocabulary.size), self._adapters.pairs
        )

    def _make_context(self, size: Size, sequences: int, vocabulary: int) -> Context:
        return Context(self._model, size, self._threads, sequences, vocabulary)

    def _step(self) -> bool:
        """One step of what runs; the exact lane and the batch take turns."""
        if self._context is None or self._closing.is_set():
            return False
        try:
            exact = self._exact.step()
            return self._scheduler.step() or exact
        except Exception as e:  # noqa: BLE001 - the callers get it; the owner's thread must live on
            error = EngineError(f"The engine failed: {type(e).__name__}: {e}. Run again.")
            error.__cause__ = e
            self._exact.stop_all(error)
            self._scheduler.reset(error)
            return False

    def _pooled(self, tokenized: Sequence[Sequence[int]], *, rank: bool) -> NDArray[np.float32]:
        if rank not in self._embedders:
            embedder = Embedder(self._model, self.context_length, self._threads, rank=rank)
            self._embedders[rank] = embedder
        return self._embedders[rank].vectors(tokenized, self._closing.is_set)

    def _pooling_of_file(self) -> int:
        import ctypes

        buffer = ctypes.create_string_buffer(32)
        key = f"{self.metadata.architecture}.pooling_type".encode()
        found = native.library().llama_model_meta_val_str(self._model, key, buffer, 32)
        return int(buffer.value) if int(found) >= 0 and buffer.value.isdigit() else -1

    def _free(self) -> None:
        if self._context is not None:
            self._scheduler.stop_all()
            self._exact.stop_all()
        with self._guard:
            for embedder in self._embedders.values():
                embedder.free()
            self._embedders.clear()
            if self._context is not None:
                self._exact.free()
                self._context.free()
                self._adapters.free()
                self._context = None
            if self._model is not None:
                native.library().llama_model_free(self._model)
            self._model = None


def _put(target: queue.SimpleQueue[Any], place: int, what: Any) -> None:
    target.put((place, what))


def _labels(
    base: Sequence[int],
    labels: Sequence[Sequence[int]],
    done: Callable[[Result], None],
    *,
    adapters: tuple[tuple[str, float], ...],
    client: object,
) -> Row:
    return Labels(base, labels, done, adapters, client)


def _passage(
    tokens: Sequence[int],
    start: int,
    done: Callable[[Result], None],
    *,
    adapters: tuple[tuple[str, float], ...],
    client: object,
) -> Row:
    return Passage(tokens, done, start=start, adapters=adapters, client=client)


_open: weakref.WeakSet[LlamaCppEngine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # The native threads must have stopped before the interpreter takes the library away.
    for engine in list(_open):
        engine.close()
