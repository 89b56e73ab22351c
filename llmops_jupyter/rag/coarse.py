"""A compact first pass over many vectors: one bit for the sign of each number, compared with the query.

A row's bit says whether its number lies above the mean of all rows. What a row differs from the query by is
the sum of the query's numbers, rounded to a few bits, at which the signs differ: some operations on 64 signs
at once. The nearest rows by that are then compared exactly, by whoever asks.

The signs lie in a file beside the vectors. It is a cache: what does not fit the vectors is made anew, and
when a document is forgotten the whole file is overwritten and deleted.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Bits to which the numbers of a query are rounded; measured, see docs/rag.md.
PLANES = 2
# The largest number of a query that is told apart, in root mean squares of all its numbers.
LARGEST = 1.8
# Rows that are worked on at once, so that they stay in the processor's cache.
BLOCK = 16_384
# Magic with version, checksum of the rest, width, rows, generation, rows of the mean, rows changed since.
_HEAD = struct.Struct("<8sIIQQQQ")
_MAGIC = b"LORAGS01"
_LOCK_S = 60.0


@dataclass(frozen=True)
class Signs:
    """The signs of all rows.

    Args:
        generation: of the index when they were compared with the rows.
        mean: of the rows at the time that all of them were read, shape (width,).
        marks: of each row's bytes, by which a changed row is known; 0 for a row of zeros. Shape (rows,).
        bits: words of 64 signs, shape (words, rows).
        whole: rows when the mean was taken.
        since: rows that were added or changed after it.
    """

    generation: int
    mean: NDArray[np.float32]
    marks: NDArray[np.uint64]
    bits: NDArray[np.uint64]
    whole: int
    since: int

    def nearest(
        self, query: NDArray[np.float32], count: int, among: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Rows that come nearest to a query, ascending; about `count`, since equal ones stay together.

        Args:
            query: shape (width,).
            count: of rows.
            among: only these rows; ascending.
        """
        import numpy as np

        distances = self._distances(query)
        if among is not None:
            distances = distances[among]
        if count < len(distances):
            most = np.partition(distances, count - 1)[count - 1]
            places = np.flatnonzero(distances <= most)
        else:
            places = np.arange(len(distances))
        return places if among is None else among[places]

    def _distances(self, query: NDArray[np.float32]) -> NDArray[np.uint16]:
        """For each row the sum of the query's rounded numbers at which the signs differ."""
        import numpy as np

        signs = packed(query[None] > 0)[:, 0]
        size = np.abs(query)
        unit = LARGEST * float(np.sqrt((size**2).mean())) / (2**PLANES - 1) or 1.0
        levels = np.minimum(np.rint(size / unit), 2**PLANES - 1).astype(np.uint8)
        planes = [packed((levels[None] >> p) & 1)[:, 0] for p in range(PLANES)]
        count = popcount()
        found = np.zeros(self.bits.shape[1], np.uint16)
        for begin in range(0, len(found), BLOCK):
            part = found[begin : begin + BLOCK]
            for word, sign in enumerate(signs):
                differ = self.bits[word, begin : begin + BLOCK] ^ sign
                for p, plane in enumerate(planes):
                    part += count(differ & plane[word]).astype(np.uint16) << p
        return found


class Coarse:
    """The file of signs beside a file of vectors. Several processes may read and make it."""

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self._part = path.with_name(f"{path.name}.part")
        self._locked = path.with_name(f"{path.name}.lock")

    def load(self, rows: NDArray[np.float32], generation: int) -> Signs:
        """The signs of these rows: as they are kept for this generation, else brought up to date and kept.

        Only rows that are new or changed are worked out, until they are more than half as many as all were.
        Where nothing can be written, the signs are not kept.
        """
        found = self._read()
        if found is not None and fits(found, rows, generation):
            return found
        try:
            with self._lock():
                found = self._read()  # another process may have been faster
                if found is None or not fits(found, rows, generation):
                    found = made(found, rows, generation)
                    self._write(found)
                return found
        except (OSError, NotImplementedError):
            return made(found, rows, generation)

    def delete(self) -> None:
        """Overwrite and delete the file: no sign of any vector is left in its bytes.

        Raises:
            StoreError: it cannot be overwritten.
        """
        if not self._locked.exists():
            return  # nobody has made it, and who begins now reads the vectors as they are now
        try:
            with (
                self._lock()
            ):  # who makes the file now has read the vectors before; it goes with the rest
                for path in (self.path, self._part):
                    if path.is_file():
                        _overwrite(path)
                        path.unlink()
        except (OSError, NotImplementedError) as e:
            raise StoreError(
                f"The signs of vectors in {str(self.path)!r} cannot be deleted ({e}). Delete that file yourself."
            ) from e

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the right to write; what is in the way is an OSError."""
        from filelock import FileLock

        with FileLock(self._locked, timeout=_LOCK_S, mode=0o600):
            yield

    def _read(self) -> Signs | None:
        """What the file holds; None if it is not there, damaged or of another kind."""
        import numpy as np

        try:
            data = self.path.read_bytes()
        except OSError:
            return None
        if len(data) < _HEAD.size:
            return None
        magic, checksum, width, count, generation, whole, since = _HEAD.unpack_from(data)
        words = -(-width // 64)
        size = _HEAD.size + 4 * width + 8 * count * (1 + words)
        if (magic, width, len(data)) != (_MAGIC, self.width, size):
            return None
        if zlib.crc32(memoryview(data)[12:]) != checksum:
            return None
        at = _HEAD.size + 4 * width
        return Signs(
            generation,
            np.frombuffer(data, "<f4", width, _HEAD.size),
            np.frombuffer(data, "<u8", count, at),
            np.frombuffer(data, "<u8", count * words, at + 8 * count).reshape(words, count),
            whole,
            since,
        )

    def _write(self, signs: Signs) -> None:
        """Put the file in the place of the one that is there."""
        import numpy as np

        body = b"".join(
            np.ascontiguousarray(a, kind).tobytes()
            for a, kind in ((signs.mean, "<f4"), (signs.marks, "<u8"), (signs.bits, "<u8"))
        )
        numbers = (self.width, len(signs.marks), signs.generation, signs.whole, signs.since)
        rest = _HEAD.pack(_MAGIC, 0, *numbers)[12:]
        head = _HEAD.pack(_MAGIC, zlib.crc32(body, zlib.crc32(rest)), *numbers)
        handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(head)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        self._part.replace(self.path)


def fits(signs: Signs, rows: NDArray[np.float32], generation: int) -> bool:
    """Whether these are the signs of the rows of that generation."""
    return signs.generation == generation and len(signs.marks) == len(rows)


def made(old: Signs | None, rows: NDArray[np.float32], generation: int) -> Signs:
    """The signs of the rows; `old` are those of other rows, of which most may be the same."""
    import numpy as np

    marks = marks_of(rows)
    if old is not None:
        same = min(len(rows), len(old.marks))
        changed = np.flatnonzero(marks[:same] != old.marks[:same])
        changed = np.concatenate([changed, np.arange(same, len(rows))])
        since = old.since + len(changed)
        if 2 * since <= old.whole:
            bits = np.zeros((len(old.bits), len(rows)), np.uint64)
            bits[:, :same] = old.bits[:, :same]
            _sign(bits, rows, old.mean, changed)
            return Signs(generation, old.mean, marks, bits, old.whole, since)
    mean = _mean(rows, int(np.count_nonzero(marks)))
    bits = np.zeros((-(-rows.shape[1] // 64), len(rows)), np.uint64)
    _sign(bits, rows, mean, None)
    return Signs(generation, mean, marks, bits, len(rows), 0)


def marks_of(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A number for each row's bytes: all its words, by exclusive or."""
    import numpy as np

    words = rows.view("<u8" if rows.shape[1] % 2 == 0 else "<u4")
    found = np.empty(len(rows), np.uint64)
    for begin in range(0, len(rows), BLOCK // 8):
        part = slice(begin, begin + BLOCK // 8)
        found[part] = np.bitwise_xor.reduce(words[part], axis=1)
    return found


def packed(signs: NDArray[Any]) -> NDArray[np.uint64]:
    """Rows of truth values as words of 64, the first dimension the words; what is missing is 0."""
    import numpy as np

    octets = np.packbits(signs.astype(bool), axis=1)
    missing = -octets.shape[1] % 8
    if missing:
        octets = np.pad(octets, ((0, 0), (0, missing)))
    words: NDArray[np.uint64] = np.ascontiguousarray(octets).view("<u8").T
    return words


def popcount() -> Callable[[NDArray[np.uint64]], NDArray[Any]]:
    """Counts the bits of words; NumPy has it from 2.0 on."""
    import numpy as np

    found: Callable[[NDArray[np.uint64]], NDArray[Any]] = getattr(np, "bitwise_count", counted)
    return found


def counted(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The bits of words, counted in pairs, in fours, in eights, and these added up."""
    import numpy as np

    pairs, fours, eights, ones = (
        np.uint64(int(digits * 8, 16)) for digits in ("55", "33", "0f", "01")
    )
    found: NDArray[np.uint64] = words - ((words >> np.uint64(1)) & pairs)
    found = (found & fours) + ((found >> np.uint64(2)) & fours)
    found = (found + (found >> np.uint64(4))) & eights
    found *= ones
    found >>= np.uint64(56)
    return found


def _sign(
    bits: NDArray[np.uint64],
    rows: NDArray[np.float32],
    mean: NDArray[np.float32],
    changed: NDArray[np.int64] | None,
) -> None:
    """Set the signs of some rows, or of all."""
    import numpy as np

    step = BLOCK // 4
    for begin in range(0, len(rows) if changed is None else len(changed), step):
        part: Any = slice(begin, begin + step) if changed is None else changed[begin : begin + step]
        bits[:, part] = packed(np.asarray(rows[part]) > mean)


def _mean(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The mean of the rows that are not all zeros."""
    import numpy as np

    total = np.zeros(rows.shape[1])
    for begin in range(0, len(rows), BLOCK // 4):
        total += rows[begin : begin + BLOCK // 4].sum(axis=0)
    return (total / max(1, count)).astype(np.float32)


def _overwrite(path: Path) -> None:
    """Put zeros over all bytes of a file."""
    with path.open("r+b") as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 20)))
        file.flush()
        os.fsync(file.fileno())
