"""A llama.cpp context with many sequences in one shared cache.

Each sequence is a run of tokens whose positions follow each other from 0. Everything is checked before it
reaches the library, which stops the process when sizes, positions or ranges are wrong.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from llmops_jupyter.engine.capability import Capability, capability_of
from llmops_jupyter.engine.cells import Cells
from llmops_jupyter.engine.native import library
from llmops_jupyter.errors import EngineError, ModelMemoryError
from llmops_jupyter.models.memory import SCORES_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_ROOM = 1
_BYTES = ctypes.POINTER(ctypes.c_uint8)


class NoRoomError(EngineError):
    """The cache found no cells for a batch; its state is as before."""


class Piece(NamedTuple):
    """Tokens that follow in a sequence; the last `outputs` of them get logits."""

    sequence: int
    tokens: Sequence[int]
    outputs: int = 0


@dataclass(frozen=True)
class Size:
    """How large a context is: rows at once, cells and tokens a batch, rows of logits a batch."""

    rows: int
    cells: int
    batch: int
    outputs: int


class Batch:
    """The arrays of a `llama_batch`, filled anew for each call. One sequence for each token."""

    def __init__(self, size: int) -> None:
        import numpy as np

        lib = library()
        self.size = size
        self.tokens = np.zeros(size, dtype=np.int32)
        self.positions = np.zeros(size, dtype=np.int32)
        self.sequences = np.zeros(size, dtype=np.int32)
        self.outputs = np.zeros(size, dtype=np.int8)
        self._ones = np.ones(size, dtype=np.int32)
        first, step = self.sequences.ctypes.data, self.sequences.itemsize
        self._pointers = np.arange(first, first + step * size, step, dtype=np.uintp)
        ints, words = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_int8)
        self.native = lib.llama_batch(
            n_tokens=0,
            token=self.tokens.ctypes.data_as(ints),
            embd=None,
            pos=self.positions.ctypes.data_as(ints),
            n_seq_id=self._ones.ctypes.data_as(ints),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(ints)),
            logits=self.outputs.ctypes.data_as(words),
        )

    def fill(self, place: int, piece: Piece, position: int) -> int:
        """Write a piece at `place`; returns the place after it."""
        import numpy as np

        end = place + len(piece.tokens)
        if end == place + 1:
            self.tokens[place], self.positions[place] = piece.tokens[0], position
            self.sequences[place], self.outputs[place] = piece.sequence, piece.outputs
            return end
        self.tokens[place:end] = piece.tokens
        self.positions[place:end] = np.arange(position, position + end - place)
        self.sequences[place:end] = piece.sequence
        self.outputs[place:end] = 0
        if piece.outputs:
            self.outputs[end - piece.outputs : end] = 1
        return end


class Context:
    """A context of a model; used by one thread at a time.

    Args:
        model: pointer to the loaded model.
        size: see `Size`; `cells` is rounded up to a multiple of 256 by the library.
        n_threads: threads that compute.
        sequences: sequences that may exist at once, rows and kept prefixes together; at most 256.
        longest: tokens of the longest sequence.

    Raises:
        ModelMemoryError: the library cannot make it.
    """

    def __init__(
        self, model: Any, size: Size, n_threads: int, sequences: int, vocabulary: int
    ) -> None:
        self._lib = lib = library()
        self.size = size
        self.sequences = sequences
        self.vocabulary = vocabulary
        self.params = params = lib.llama_context_default_params()
        params.n_ctx = size.cells
        # One physical batch for each logical one: a call that fails leaves nothing behind.
        params.n_batch = params.n_ubatch = size.batch
        params.n_seq_max = sequences
        # The library makes room for the logits of every sequence, and stops the process over a smaller limit.
        params.n_outputs_max = max(size.outputs, sequences)
        params.n_threads = params.n_threads_batch = n_threads
        params.flash_attn_type = _attention(lib, model, size)
        params.kv_unified = True
        params.swa_full = True
        params.no_perf = True
        self.capability: Capability = capability_of(model)
        plain = params.flash_attn_type == lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # Cells of others that a row may have to look past.
        self.cheap_cells = _cheap_cells(lib, model) if plain else size.cells
        self.pointer = lib.llama_init_from_model(model, params)
        if not self.pointer:
            raise ModelMemoryError(
                f"llama.cpp cannot make a context of {size.cells} tokens: there is probably too "
                "little memory. Load with fewer: %config LLMOps.context_length = 2048"
            )
        self._memory = lib.llama_get_memory(self.pointer)
        self._row_of_logits = ctypes.c_float * vocabulary
        self._batch = Batch(size.batch)
        self.cells = Cells(int(lib.llama_n_ctx(self.pointer)), sequences)
        self._adapters: tuple[tuple[Any, float], ...] = ()

    @property
    def free_cells(self) -> int:
        return self.cells.free

    def length(self, sequence: int) -> int:
        return self.cells.length(sequence)

    def feed(self, pieces: Sequence[Piece]) -> list[int]:
        """Compute tokens; returns the place of each piece's first token, for `logits`.

        Raises:
            NoRoomError: nothing was computed; with fewer tokens it may work.
            EngineError: the library failed, and the cache was emptied.
        """
        self._check(pieces)
        places, end = [], 0
        for piece in pieces:
            places.append(end)
            end = self._batch.fill(end, piece, self.cells.length(piece.sequence))
        self._batch.native.n_tokens = end
        code = self._lib.llama_decode(self.pointer, self._batch.native)
        if code == NO_ROOM:
            raise NoRoomError("The cache has no room for these tokens.")
        if code != 0:
            self.clear()
            raise EngineError(f"llama.cpp could not compute the tokens (code {code}). Run again.")
        for piece in pieces:
            self.cells.extend(piece.sequence, len(piece.tokens))
        return places

    def logits(self, place: int) -> NDArray[np.float32]:
        """The logits of a token of the last `feed` that was to have some; valid until the next."""
        import numpy as np

        pointer = self._lib.llama_get_logits_ith(self.pointer, place)
        if not pointer:
            raise EngineError(f"Token {place} of the batch has no logits. Run again.")
        row: Any = self._row_of_logits.from_address(ctypes.addressof(pointer.contents))
        return np.frombuffer(row, dtype=np.float32)

    def copy(self, source: int, target: int, length: int) -> bool:
        """Let the empty sequence `target` begin with the first `length` tokens of another.

        Returns False where the architecture cannot: then `target` stays empty.
        """
        whole = length == self.cells.length(source)
        if not (whole or self.capability.parts):
            return False
        oldest = int(self._lib.llama_memory_seq_pos_min(self._memory, source))
        if not self.capability.reusable(length, oldest):
            return False
        self.cells.copy(source, target, length)
        end = -1 if whole else length
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, end)
        return True

    def cut(self, sequence: int, length: int) -> bool:
        """Forget what follows the first `length` tokens; False where that cannot be: then all is gone."""
        if length == self.cells.length(sequence):
            return True
        if length and self.capability.parts:
            oldest = int(self._lib.llama_memory_seq_pos_min(self._memory, sequence))
            possible = self.capability.reusable(length, oldest)
            if possible and self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1):
                self.cells.cut(sequence, length)
                return True
        self.drop(sequence)
        return length == 0

    def drop(self, sequence: int) -> None:
        """Forget a sequence."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        self.cells.cut(sequence, 0)

    def state_bytes(self, sequence: int) -> int:
        """Size of what `save` gives."""
        return int(self._lib.llama_state_seq_get_size_ext(self.pointer, sequence, 0))

    def save(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Copy a sequence's state into an array of `state_bytes`; False if the library cannot."""
        size = len(state)
        target = state.ctypes.data_as(_BYTES)
        write = self._lib.llama_state_seq_get_data_ext
        return int(write(self.pointer, target, size, sequence, 0)) == size

    def load(self, sequence: int, state: NDArray[np.uint8], length: int) -> bool:
        """Let the empty sequence hold the `length` tokens of a state that `save` gave, as it was then.

        The library may stop the process over a state that was changed. Returns False if there is no room or
        the library refuses it: then the sequence stays empty.
        """
        if self.cells.length(sequence) or not 0 < length <= self.cells.free:
            return False
        size = len(state)
        source = state.ctypes.data_as(_BYTES)
        read = self._lib.llama_state_seq_set_data_ext(self.pointer, source, size, sequence, 0)
        newest = int(self._lib.llama_memory_seq_pos_max(self._memory, sequence))
        if read != size or newest != length - 1:
            self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            return False
        self.cells.extend(sequence, length)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._lib.llama_memory_clear(self._memory, True)
        self.cells = Cells(self.cells.size, self.sequences)

    def use_adapters(self, adapters: Sequence[tuple[Any, float]]) -> None:
        """Compute with these (pointer, scale) adapters from now on."""
        wanted = tuple(adapters)
        if wanted == self._adapters:
            return
        count = len(wanted)
        kind = ctypes.POINTER(ctypes.c_void_p)
        pointers = (kind * max(count, 1))(*(pointer for pointer, _ in wanted))
        scales = (ctypes.c_float * max(count, 1))(*(scale for _, scale in wanted))
        code = self._lib.llama_set_adapters_lora(self.pointer, pointers, count, scales)
        if code != 0:
            raise EngineError(f"llama.cpp refuses the adapters (code {code}). Leave them out.")
        self._adapters = wanted

    def free(self) -> None:
        if self.pointer:
            self._lib.llama_free(self.pointer)
            self.pointer = None

    def _check(self, pieces: Sequence[Piece]) -> None:
        total = sum(len(p.tokens) for p in pieces)
        wrong = (
            not 0 < total <= self.size.batch
            or len({p.sequence for p in pieces}) != len(pieces)
            or any(not 0 <= p.sequence < self.sequences for p in pieces)
            or any(not 0 <= p.outputs <= len(p.tokens) or not len(p.tokens) for p in pieces)
            or sum(p.outputs for p in pieces) > self.size.outputs
        )
        if wrong:
            raise EngineError(f"A batch of {total} tokens in {len(pieces)} pieces has wrong sizes.")
        if total > self.cells.free:
            raise NoRoomError(f"The cache has {self.cells.free} free cells; {total} are needed.")
        for piece in pieces:
            if min(piece.tokens) < 0 or max(piece.tokens) >= self.vocabulary:
                raise EngineError("A token id is outside the vocabulary. Use another prompt.")


def _cheap_cells(lib: Any, model: Any) -> int:
    """Cells at which plain attention takes a quarter of a token's operations.

    It looks at all cells of the cache and masks those of other sequences afterwards: kept prefixes of 4,000
    tokens made 16 rows of a model of 135M parameters half as fast.
    """
    weights = 2 * int(lib.llama_model_n_params(model))
    each = 4 * int(lib.llama_model_n_embd(model)) * max(1, int(lib.llama_model_n_layer(model)))
    return weights // (4 * each)


def _attention(lib: Any, model: Any, size: Size) -> int:
    """Flash attention on a GPU and where plain attention would need large buffers; else plain.

    On CPUs llama.cpp's plain attention reads many rows at a time and was 1.1 to 3 times faster at writing
    than its flash attention, and a little slower at reading deep prompts.
    """
    scores = int(lib.llama_model_n_head(model)) * size.cells * size.batch * 4
    plain = not lib.llama_supports_gpu_offload() and scores <= SCORES_BYTES
    kinds = (lib.LLAMA_FLASH_ATTN_TYPE_AUTO, lib.LLAMA_FLASH_ATTN_TYPE_DISABLED)
    return int(kinds[plain])
