"""Vectors of an index in a file that is mapped into memory: one row of float32 for each passage."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_jupyter.errors import StoreError
from llmops_jupyter.rag.coarse import Coarse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BYTES = 4


class Vectors:
    """Rows of `width` numbers. Several processes may read while one writes other rows.

    Args:
        path: of the file; None keeps the rows in memory, where they are always compared exactly.
        width: numbers in a row.
    """

    def __init__(self, path: Path | None, width: int) -> None:
        self.path, self.width = path, width
        self.coarse = Coarse(path.with_suffix(".signs"), width) if path is not None else None
        self._memory: NDArray[np.float32] | None = None

    def write(self, rows: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Write rows at their places; they are on the disk when this returns.

        Raises:
            StoreError: the disk is full or the file cannot be written.
        """
        import numpy as np

        if self.path is None:
            self._write_memory(rows, vectors)
            return
        size = self.width * BYTES
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            try:
                for row, vector in zip(rows, vectors, strict=True):
                    data = np.ascontiguousarray(vector, dtype="<f4").tobytes()
                    os.lseek(handle, row * size, os.SEEK_SET)
                    if os.write(handle, data) != size:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as e:
            raise StoreError(
                f"The vectors in {str(self.path)!r} cannot be written: {e.strerror}."
            ) from e

    def read(self, count: int) -> NDArray[np.float32]:
        """The first rows, mapped; shape (count, width).

        Raises:
            StoreError: the file has fewer rows.
        """
        import numpy as np

        if self.path is None:
            if self._memory is None:
                return np.zeros((0, self.width), np.float32)
            return self._memory[:count]
        if not count:
            return np.zeros((0, self.width), np.float32)
        size = self.width * BYTES
        try:
            found = self.path.stat().st_size // size
        except FileNotFoundError:
            found = 0
        if found < count:
            raise StoreError(
                f"The vectors in {str(self.path)!r} are not all there ({found} of {count}). Delete the index and "
                "add its documents again: %rag remove NAME"
            )
        return np.memmap(self.path, dtype="<f4", mode="r", shape=(count, self.width))

    def erase(self, rows: Sequence[int]) -> None:
        """Overwrite rows with zeros; the file of their signs goes as a whole."""
        import numpy as np

        if rows:
            self.write(rows, np.zeros((len(rows), self.width), np.float32))
        if self.coarse is not None:
            self.coarse.delete()

    def delete(self) -> None:
        """Delete the file."""
        self._memory = None
        if self.coarse is not None:
            self.coarse.delete()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write_memory(self, rows: Sequence[int], vectors: NDArray[np.float32]) -> None:
        import numpy as np

        need = max(rows, default=-1) + 1
        if self._memory is None or len(self._memory) < need:
            grown = np.zeros((max(need, 64), self.width), np.float32)
            if self._memory is not None:
                grown = np.zeros((max(need, 2 * len(self._memory)), self.width), np.float32)
                grown[: len(self._memory)] = self._memory
            self._memory = grown
        self._memory[list(rows)] = vectors
