"""Beginnings of prompts that were read: kept in mlx-lm's cache of them, and gone on from by copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.engine.row import Row

# Tokens of a prompt that are read between two looks at who has been cancelled.
CHUNK = 128
MOST, MOST_BYTES = 16, 10**9
# A beginning of fewer tokens is not worth being kept, or read apart for several rows.
LEAST = 32


class Beginnings:
    """What was read of earlier prompts, for one thread. What was used longest ago goes first.

    Args:
        model: that reads; with the adapters that are in use.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.forget()

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """Forget all of them."""
        from mlx_lm.models.cache import LRUPromptCache

        self._kept = LRUPromptCache(MOST, MOST_BYTES)

    def keep(self, adapters: Adapters, tokens: list[int], cache: list[Any]) -> None:
        """Keep a cache that holds these tokens."""
        if len(tokens) >= LEAST:
            self._kept.insert_cache(adapters, tokens, cache)

    def of(self, row: Row) -> tuple[list[Any], int]:
        """A cache that begins as a row's prompt does, and how many of its tokens it holds: not the last."""
        return self._begun(row.tokens[: min(row.outputs_from, len(row.tokens) - 1)], row.adapters)

    def read_shared(self, rows: Sequence[Row]) -> None:
        """Read what rows of one adapter set begin with, so that each goes on from a copy."""
        import mlx.core as mx

        count = _shared([row.tokens for row in rows]) if len(rows) > 1 else 0
        if count < LEAST:
            return
        tokens, used = rows[0].tokens[:count], rows[0].adapters
        cache, read = self._begun(tokens, used)
        if read == count:
            return
        while read < count:
            if all(row.cancelled.is_set() for row in rows):
                return
            self._model(mx.array([tokens[read : read + CHUNK]]), cache=cache)
            mx.eval([c.state for c in cache])
            read = min(count, read + CHUNK)
        self.keep(used, tokens, cache)

    def _begun(self, tokens: list[int], adapters: Adapters) -> tuple[list[Any], int]:
        from mlx_lm.models.cache import make_prompt_cache

        cache, left = self._kept.fetch_nearest_cache(adapters, tokens)
        if cache is None:
            return make_prompt_cache(self._model), 0
        return cache, len(tokens) - len(left)


def _shared(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with, less one so that each has something left to read."""
    count = 0
    for first, last in zip(min(rows), max(rows), strict=False):
        if first != last:
            break
        count += 1
    return min(count, min(map(len, rows)) - 1)
