"""llama.cpp's own calls on many sequences and nothing else, as a program: the ceiling of reading and writing.

`python -m benchmarks.raw PATH THREADS` answers `read` and `write` for each of the KINDS of contexts. Nothing
is sampled: the tokens that are fed are given.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.child import serve

ROWS = 16
CELLS = 8192
# Flash attention or plain attention; one cache for all sequences, or one for each.
KINDS = {
    "plain, one cache": (False, True),
    "flash, one cache": (True, True),
    "plain, split cache": (False, False),
    "flash, split cache": (True, False),
}


class Raw:
    """A loaded model with one context, which is made anew when another kind is asked for."""

    def __init__(self, path: str, threads: int) -> None:
        from llama_cpp import llama_cpp as lib

        self.lib, self.threads = lib, threads
        self.model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        self.kind, self.context = "", None
        self.batch = lib.llama_batch_init(512, 0, 1)

    def use(self, kind: str) -> None:
        """Have an empty context of a kind."""
        lib = self.lib
        if kind != self.kind:
            if self.context is not None:
                lib.llama_free(self.context)
            flash, unified = KINDS[kind]
            params = lib.llama_context_default_params()
            params.n_ctx, params.n_seq_max = CELLS, ROWS
            params.n_threads = params.n_threads_batch = self.threads
            params.kv_unified, params.no_perf = unified, True
            params.flash_attn_type = (
                lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
            )
            self.kind, self.context = kind, lib.llama_init_from_model(self.model, params)
        self.memory = lib.llama_get_memory(self.context)
        lib.llama_memory_clear(self.memory, True)

    def feed(
        self, tokens: Sequence[int], sequences: Sequence[int], positions: Sequence[int]
    ) -> None:
        """Compute tokens, with logits of the last one of each sequence."""
        batch = self.batch
        last = {sequence: i for i, sequence in enumerate(sequences)}
        for i, (token, sequence, position) in enumerate(
            zip(tokens, sequences, positions, strict=True)
        ):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, last[sequence] == i
        batch.n_tokens = len(tokens)
        code = self.lib.llama_decode(self.context, batch)
        if code:
            raise RuntimeError(f"llama_decode returned {code}")
        self.lib.llama_get_logits_ith(self.context, len(tokens) - 1)

    def read(self, kind: str, tokens: list[int]) -> float:
        """Tokens per second when a sequence of at most 512 tokens is read."""
        self.use(kind)
        began = time.perf_counter()
        self.feed(tokens, [0] * len(tokens), range(len(tokens)))
        return len(tokens) / (time.perf_counter() - began)

    def write(
        self, kind: str, shared: list[int], rests: list[list[int]], skip: int, count: int
    ) -> float:
        """Tokens per second of 16 sequences that share a beginning; `skip` steps go before."""
        self.use(kind)
        self.feed(shared, [0] * len(shared), range(len(shared)))
        for row in range(1, ROWS):
            self.lib.llama_memory_seq_cp(self.memory, 0, row, 0, -1)
        for row, rest in enumerate(rests):
            self.feed(rest, [row] * len(rest), range(len(shared), len(shared) + len(rest)))
        depths = [len(shared) + len(rest) for rest in rests]
        began = 0.0
        for step in range(skip + count):
            if step == skip:
                began = time.perf_counter()
            fed = [shared[(step + row) % len(shared)] for row in range(ROWS)]
            self.feed(fed, range(ROWS), [depth + step for depth in depths])
        return ROWS * count / (time.perf_counter() - began)


def main() -> None:
    raw: Any = Raw(sys.argv[1], int(sys.argv[2]))
    serve(read=raw.read, write=raw.write)


if __name__ == "__main__":
    main()
