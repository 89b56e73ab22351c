"""Vectors of texts, and how well texts answer a query: contexts that pool over each sequence."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.context import Batch, Piece
from llmops_jupyter.engine.native import library
from llmops_jupyter.errors import EngineError, ModelMemoryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Attention spans the whole batch, so larger ones are slower: texts of 256 tokens, MiniLM, two cores without AMX,
# were 21 a second with batches of 256 tokens, 18 to 22 with 512, 16 to 18 with 1,024, 14 with 2,048.
BUDGET = 256
SEQUENCES = 64


class Embedder:
    """A context that gives one vector for each sequence, by the model's own pooling.

    Args:
        model: pointer to the loaded model.
        n_ctx: tokens of the longest text.
        n_threads: threads that compute.
        rank: pool as a reranker does, into scores.

    Raises:
        ModelMemoryError: the context cannot be made.
    """

    def __init__(self, model: Any, n_ctx: int, n_threads: int, *, rank: bool = False) -> None:
        self._lib = lib = library()
        self.budget = max(BUDGET, n_ctx)
        params = lib.llama_context_default_params()
        params.n_ctx = self.budget
        params.n_batch = params.n_ubatch = self.budget
        params.n_seq_max = SEQUENCES
        params.n_threads = params.n_threads_batch = n_threads
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = True
        params.embeddings = True
        params.no_perf = True
        params.pooling_type = lib.LLAMA_POOLING_TYPE_RANK if rank else _pooling(model)
        self.pointer = lib.llama_init_from_model(model, params)
        if not self.pointer:
            raise ModelMemoryError(
                f"llama.cpp cannot make a context for embeddings of {n_ctx} tokens: there is "
                "probably too little memory. Use a shorter one: %config LLMOps.context_length = 512"
            )
        self.width = int(
            lib.llama_model_n_cls_out(model) if rank else lib.llama_model_n_embd_out(model)
        )
        self._memory = lib.llama_get_memory(self.pointer)
        self._batch = Batch(self.budget)

    def vectors(
        self, texts: Sequence[Sequence[int]], stopped: Callable[[], bool] = bool
    ) -> NDArray[np.float32]:
        """One row for each tokenised text, as pooled; shape (len(texts), width).

        Texts of similar length share a batch of at most `BUDGET` tokens.

        Raises:
            EngineError: the library failed, or `stopped` became true between two batches.
        """
        import numpy as np

        found = np.zeros((len(texts), self.width), dtype=np.float32)
        for group in grouped([len(t) for t in texts], BUDGET, SEQUENCES):
            if stopped():
                raise EngineError("The engine was closed while texts were embedded.")
            self._compute([texts[i] for i in group])
            for sequence, place in enumerate(group):
                pointer = self._lib.llama_get_embeddings_seq(self.pointer, sequence)
                if not pointer:
                    raise EngineError("The model gives no vector for a text. Use another model.")
                found[place] = np.ctypeslib.as_array(pointer, shape=(self.width,))
        return found

    def _compute(self, texts: Sequence[Sequence[int]]) -> None:
        if self._memory:
            self._lib.llama_memory_clear(self._memory, True)
        end = 0
        for sequence, tokens in enumerate(texts):
            end = self._batch.fill(end, Piece(sequence, tokens, len(tokens)), 0)
        self._batch.native.n_tokens = end
        code = self._lib.llama_decode(self.pointer, self._batch.native)
        if code != 0:
            raise EngineError(f"llama.cpp could not embed the texts (code {code}). Run again.")

    def free(self) -> None:
        if self.pointer:
            self._lib.llama_free(self.pointer)
            self.pointer = None


def grouped(lengths: Sequence[int], budget: int, most: int) -> list[list[int]]:
    """Places of texts in groups of at most `budget` tokens and `most` texts, by length.

    A text longer than the budget has a group of its own.
    """
    groups: list[list[int]] = []
    total = 0
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = groups and total + lengths[place] <= budget and len(groups[-1]) < most
        if not fits:
            groups.append([])
            total = 0
        groups[-1].append(place)
        total += lengths[place]
    return groups


def ranks(model: Any) -> bool:
    """Whether a model's file says that it pools into scores."""
    return _pooling_of_file(model) == int(library().LLAMA_POOLING_TYPE_RANK)


def _pooling(model: Any) -> int:
    """The file's own pooling, or the mean for models made to generate."""
    own = _pooling_of_file(model)
    return int(library().LLAMA_POOLING_TYPE_MEAN) if own is None else own


def _pooling_of_file(model: Any) -> int | None:
    lib = library()
    buffer = ctypes.create_string_buffer(64)
    lib.llama_model_meta_val_str(model, b"general.architecture", buffer, 64)
    key = buffer.value + b".pooling_type"
    found = int(lib.llama_model_meta_val_str(model, key, buffer, 64)) >= 0
    return int(buffer.value) if found and buffer.value.isdigit() else None
