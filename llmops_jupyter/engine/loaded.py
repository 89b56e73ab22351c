"""A loaded model with all that computes on it. Everything here is for the one thread that owns it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import native, sizing
from llmops_jupyter.engine.adapters import LoadedAdapters
from llmops_jupyter.engine.aside import Aside
from llmops_jupyter.engine.context import Context, Size
from llmops_jupyter.engine.devices import devices
from llmops_jupyter.engine.embedding import Embedder, ranks
from llmops_jupyter.engine.exact import CHUNK, ExactLane
from llmops_jupyter.engine.identity import Identities, is_digest
from llmops_jupyter.engine.meter import new_meter
from llmops_jupyter.engine.offload import plan
from llmops_jupyter.engine.saved import MEGABYTE, SavedStates, default_folder
from llmops_jupyter.engine.saving import Saving
from llmops_jupyter.engine.scheduler import Scheduler
from llmops_jupyter.engine.tokens import Tokenizer
from llmops_jupyter.errors import EngineError
from llmops_jupyter.models import GGUFMetadata
from llmops_jupyter.models.memory import megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 4096


class Loaded:
    """The model of a file, its contexts, and the rows that run in them.

    Args:
        path, metadata, digest: of the file.
        n_threads: that compute.
        submit: runs a job on the owner's thread, soon.
        n_ctx, n_gpu_layers, rows, n_batch, prefix_cache_mb: see `LlamaCppEngine`.

    Raises:
        ModelError, ModelMemoryError, MissingDependencyError: with what to do; nothing stays loaded.
    """

    def __init__(
        self,
        path: Path,
        metadata: GGUFMetadata,
        digest: str,
        *,
        n_threads: int,
        submit: Callable[[Callable[[], None]], None],
        n_ctx: int | None,
        n_gpu_layers: int | None,
        rows: int | None,
        n_batch: int | None,
        prefix_cache_mb: int,
    ) -> None:
        self._lib = native.library()
        self._threads = n_threads
        self._embedders: dict[bool, Embedder] = {}
        self._contexts: list[Context] = []
        self._adapters: LoadedAdapters | None = None
        trained = metadata.context_length or DEFAULT_CONTEXT
        self.context_length = n_ctx or min(trained, DEFAULT_CONTEXT)
        self.plan = plan(
            metadata,
            self.context_length,
            devices(self._lib),
            rows=rows,
            batch=n_batch,
            layers=n_gpu_layers,
        )
        self.size = self.plan.size
        self.model = native.load_model(path, self.plan.layers)
        try:
            vocabulary = native.Vocabulary(self.model)
            self.ranks = ranks(self.model)
            self.tokenizer = Tokenizer(vocabulary, self.context_length)
            self._adapters = adapters = LoadedAdapters(self.model, metadata.architecture)
            with vocabulary.searched():
                context = self._make_context(self.size, sizing.sequences(self.size.rows))
            # An encoder has no memory of what was written, and its logits mean nothing.
            self.writes = bool(self._lib.llama_get_memory(context.pointer))
            # One for both lanes, which take turns on this thread.
            meter = new_meter()
            self.scheduler = Scheduler(context, self.size.rows, adapters.pairs, meter)
            alone = Size(1, sizing.spread(self.context_length), CHUNK, 1)
            self.exact = ExactLane(lambda: self._make_context(alone, 1), adapters.pairs, meter)
            slowed = context.cheap_cells < context.cells.size and context.capability.parts
            if slowed and not sizing.is_tight():
                kept, pace = self.scheduler.prefixes, self.scheduler.pace
                self.scheduler.aside = Aside(context, kept, pace)
            if prefix_cache_mb and self.writes and is_digest(digest):
                identities = Identities(context, self.model, digest, self.plan.layers)
                self.scheduler.saving = Saving(
                    context,
                    self.scheduler.prefixes,
                    self.scheduler.pace,
                    SavedStates(default_folder(), prefix_cache_mb * MEGABYTE),
                    identity=lambda used: identities.of(adapters.contents(used)),
                    submit=submit,
                    busy=lambda: self.scheduler.busy or self.exact.busy,
                    aside=self.scheduler.aside,
                )
        except BaseException:
            self.free()
            raise

    def _make_context(self, size: Size, sequences: int) -> Context:
        vocabulary = self.tokenizer.vocabulary.size
        made = Context(self.model, size, self._threads, sequences, vocabulary)
        self._contexts.append(made)
        return made

    def step(self) -> bool:
        """One step of what runs; the exact lane and the batch take turns."""
        try:
            exact = self.exact.step()
            return self.scheduler.step() or exact or self.scheduler.rest()
        except Exception as e:  # noqa: BLE001 - the callers get it; the owner's thread must live on
            error = EngineError(f"The engine failed: {type(e).__name__}: {e}. Run again.")
            error.__cause__ = e
            self.exact.stop_all(error)
            self.scheduler.reset(error)
        return False

    def pooled(
        self, tokenized: Sequence[Sequence[int]], *, rank: bool, stopped: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """Vectors, or scores of a reranker, of texts in tokens; see `Embedder`."""
        if rank not in self._embedders:
            embedder = Embedder(self.model, self.context_length, self._threads, rank=rank)
            self._embedders[rank] = embedder
        return self._embedders[rank].vectors(tokenized, stopped)

    def rerank_template(self) -> str | None:
        """The template in which a reranker reads a query and a text, if the file carries one."""
        found = self._lib.llama_model_chat_template(self.model, b"rerank")
        return None if found is None else str(found.decode("utf-8", "replace"))

    def status(self) -> Mapping[str, Any]:
        """How it is loaded, and what runs."""
        scheduler = self.scheduler
        cells = scheduler.context.cells
        rate, reading = scheduler.tokens_per_s, scheduler.pace.tokens_per_s
        aside = scheduler.aside
        notes = scheduler.saving.states.notes if scheduler.saving is not None else []
        return {
            "threads": self._threads,
            "context": self.context_length,
            "rows": f"{len(scheduler.active)} of {self.size.rows}",
            "waiting": len(scheduler.waiting) + len(self.exact.waiting),
            "cells": f"{cells.size - cells.free} of {cells.size}",
            "kept prefixes": len(scheduler.prefixes.kept),
            "set aside": "0"
            if aside is None
            else f"{len(aside.entries)}, {megabytes(aside.bytes)}",
            "tokens_per_s": None if rate is None else round(rate, 1),
            "reading_tokens_per_s": None if reading is None else round(reading, 1),
            "memory kind": scheduler.context.capability.kind,
            "gpu": self.plan.why,
            "chat template": self.tokenizer.format.source,
            "vocabulary": self.tokenizer.vocabulary.size,
            **({"notes": list(notes)} if notes else {}),
        }

    def stop(self, error: Exception) -> None:
        """End all rows with an error, and save what is left to be saved."""
        self.scheduler.stop_all(error)
        self.exact.stop_all(error)
        if self.scheduler.saving is not None:
            self.scheduler.saving.close()

    def free(self) -> None:
        """Give the native memory back; nothing here may be used any more."""
        for embedder in self._embedders.values():
            embedder.free()
        for context in self._contexts:
            context.free()
        if self._adapters is not None:
            self._adapters.free()
        self._lib.llama_model_free(self.model)
