"""A llama.cpp context with one sequence: reading prompts in chunks, decoding token by token."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.native import library
from llmops_jupyter.errors import EngineError, ModelMemoryError

CHUNK = 128
NO_SLOT, ABORTED = 1, 2


def default_threads(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Physical cores that this process may use, by affinity and by the container's quota.

    More threads than that wait for each other and are many times slower than fewer.
    """
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    physical = psutil.cpu_count(logical=False) or allowed or 1
    return max(1, min(physical, allowed or 1, _quota(quota_file)))


def _quota(file: Path) -> int:
    """Whole processors that the control group grants; very many where there is no limit."""
    unlimited = 10_000
    try:
        quota, period = file.read_text("ascii").split()
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else max(1, int(quota) // int(period))


class Cancelled(Exception):  # noqa: N818 - a signal between our own functions, not an error
    """The request was cancelled between two chunks or tokens."""


class Sequence1:
    """The one sequence of a context, and which part of it may be used again.

    A prompt is read in chunks that begin at multiples of `CHUNK`, and only whole chunks that an earlier
    prompt read in the same way are kept. So every token is computed in the same batch shape whatever ran
    before, and the same request gets the same answer.
    """

    def __init__(self, model: Any, n_ctx: int, n_threads: int, *, embeddings: bool = False) -> None:
        self._lib = lib = library()
        params = lib.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = n_ctx if embeddings else CHUNK
        params.n_ubatch = n_ctx if embeddings else CHUNK
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = n_threads
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.embeddings = embeddings
        params.no_perf = True
        if embeddings:
            params.pooling_type = _pooling(lib, model)
        self.pointer = lib.llama_init_from_model(model, params)
        if not self.pointer:
            raise ModelMemoryError(
                f"llama.cpp cannot make a context of {n_ctx} tokens: there is probably too little "
                "memory. Load with fewer: %config LLMOps.context_length = 2048"
            )
        self.n_ctx = int(lib.llama_n_ctx(self.pointer))
        self._memory = lib.llama_get_memory(self.pointer)
        self._keeps_parts = not (
            lib.llama_model_is_recurrent(model)
            or lib.llama_model_is_hybrid(model)
            or lib.llama_model_n_swa(model) > 0
        )
        self._solid: list[int] = []

    def read(
        self, tokens: Sequence[int], cancelled: Callable[[], bool], *, reuse: bool = True
    ) -> int:
        """Read a whole prompt; returns how many of its tokens were there already.

        Raises:
            Cancelled: between two chunks.
            EngineError: the context could not take the tokens.
        """
        kept = self._keep(tokens) if reuse else self._clear()
        self._solid = list(tokens[:kept])
        for start in range(kept, len(tokens), CHUNK):
            if cancelled():
                raise Cancelled
            chunk = tokens[start : start + CHUNK]
            self.decode(chunk)
            if len(chunk) == CHUNK:
                self._solid.extend(chunk)
        return kept

    def decode(self, tokens: Sequence[int]) -> None:
        """Add tokens to the sequence; the logits of the last one can be read afterwards."""
        buffer = (ctypes.c_int32 * len(tokens))(*tokens)
        code = self._lib.llama_decode(
            self.pointer, self._lib.llama_batch_get_one(buffer, len(tokens))
        )
        if code == 0:
            return
        self._clear()
        if code == NO_SLOT:
            raise EngineError(
                "The context has no room for these tokens. Use a longer context: "
                "%config LLMOps.context_length"
            )
        raise EngineError(f"llama.cpp could not compute the tokens (code {code}). Run again.")

    def read_whole(self, tokens: Sequence[int]) -> None:
        """Read a text in one batch, for an embedding of it."""
        self._clear()
        self.decode(tokens)

    def cut(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        if not self._lib.llama_memory_seq_rm(self._memory, 0, length, -1):
            raise EngineError("This model cannot forget part of what it has read.")

    @property
    def can_cut(self) -> bool:
        return self._keeps_parts

    def _keep(self, tokens: Sequence[int]) -> int:
        if not self._keeps_parts:
            return self._clear()
        common = 0
        for ours, theirs in zip(self._solid, tokens, strict=False):
            if ours != theirs:
                break
            common += 1
        # At least one token is read, since its logits are needed.
        kept = min(common, len(tokens) - 1) // CHUNK * CHUNK
        if kept <= 0 or not self._lib.llama_memory_seq_rm(self._memory, 0, kept, -1):
            return self._clear()
        return kept

    def _clear(self) -> int:
        self._solid = []
        if self._memory:
            self._lib.llama_memory_clear(self._memory, True)
        return 0

    def free(self) -> None:
        if self.pointer:
            self._lib.llama_free(self.pointer)
            self.pointer = None


def _pooling(lib: Any, model: Any) -> int:
    """The file's own pooling (unspecified asks for it), or the mean for models made to generate."""
    buffer = ctypes.create_string_buffer(64)
    architecture = ctypes.create_string_buffer(64)
    lib.llama_model_meta_val_str(model, b"general.architecture", architecture, 64)
    key = architecture.value + b".pooling_type"
    has = int(lib.llama_model_meta_val_str(model, key, buffer, 64)) >= 0
    return int(lib.LLAMA_POOLING_TYPE_UNSPECIFIED if has else lib.LLAMA_POOLING_TYPE_MEAN)
