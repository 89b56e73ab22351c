"""A mirror of the cache's cells: which sequence stands on which, and how many are free.

llama.cpp does not tell, and stops the process when it is asked for what cannot be; so every operation
is checked here first. Sequences that share a beginning share its cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_jupyter.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Cells:
    """Cells of `sequences` sequences in a cache of `size` cells."""

    def __init__(self, size: int, sequences: int) -> None:
        import numpy as np

        self.size = size
        self._users = np.zeros(size, dtype=np.int32)
        self._free = np.arange(size - 1, -1, -1, dtype=np.int32)
        self._n_free = size
        none: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        # Room that grows by doubling, since a token is added at every step; `_lengths` says what is used.
        self._room: list[NDArray[np.int32]] = [none] * sequences
        self._lengths = [0] * sequences

    @property
    def free(self) -> int:
        """Cells that no sequence stands on."""
        return self._n_free

    def length(self, sequence: int) -> int:
        """Tokens of a sequence; its next one has this position."""
        return self._lengths[sequence]

    def extend(self, sequence: int, count: int) -> None:
        """Add tokens to the end of a sequence."""
        import numpy as np

        if count > self._n_free:
            raise EngineError(f"The cache has {self._n_free} free cells; {count} are needed.")
        begin = self._lengths[sequence]
        end = begin + count
        if end > len(self._room[sequence]):
            grown = np.empty(max(256, 2 * end), dtype=np.int32)
            grown[:begin] = self._of(sequence)
            self._room[sequence] = grown
        self._n_free -= count
        if count == 1:
            cell = self._free[self._n_free]
            self._users[cell] += 1
            self._room[sequence][begin] = cell
        else:
            new = self._free[self._n_free : self._n_free + count]
            self._users[new] += 1
            self._room[sequence][begin:end] = new
        self._lengths[sequence] = end

    def copy(self, source: int, target: int, length: int) -> None:
        """Let the empty sequence `target` stand on the first `length` cells of another."""
        possible = 0 < length <= self._lengths[source]
        if self._lengths[target] or not possible or source == target:
            raise EngineError(f"Sequence {source} cannot be copied to {target} up to {length}.")
        shared = self._of(source)[:length].copy()
        self._users[shared] += 1
        self._room[target], self._lengths[target] = shared, length

    def cut(self, sequence: int, length: int) -> None:
        """Forget what follows the first `length` tokens."""
        cells = self._of(sequence)
        if not 0 <= length <= len(cells):
            raise EngineError(f"Sequence {sequence} has {len(cells)} tokens, not {length}.")
        gone = cells[length:]
        self._lengths[sequence] = length
        self._users[gone] -= 1
        freed = gone[self._users[gone] == 0]
        self._free[self._n_free : self._n_free + len(freed)] = freed
        self._n_free += len(freed)

    def own(self, sequence: int) -> int:
        """Cells that only this sequence stands on, so that dropping it frees them."""
        return int((self._users[self._of(sequence)] == 1).sum())

    def _of(self, sequence: int) -> NDArray[np.int32]:
        return self._room[sequence][: self._lengths[sequence]]
