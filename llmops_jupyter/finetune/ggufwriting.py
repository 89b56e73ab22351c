"""Writing GGUF files: keys as bytes, so that those of another file are kept as they are, then tensors.

The layout is that of `docs/gguf.md` in the ggml repository, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 3
ALIGNMENT = 32
F32, F16 = 0, 1
_UINT32, _FLOAT32, _STRING = 4, 6, 8
Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its shape begins with the length of a row, `type` is ggml's number.

    `data` gives its bytes, `size` in all, when it is its turn.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    size: int
    data: Callable[[], Iterable[Any]] = field(repr=False)


def matrix(name: str, values: NDArray[np.float32], kind: int) -> Entry:
    """A tensor in F32 or F16."""
    import numpy as np

    made = np.ascontiguousarray(values, dtype="<f4" if kind == F32 else "<f2")
    return Entry(name, made.shape[::-1], kind, made.nbytes, lambda: [made.data.cast("B")])


def text(key: str, value: str) -> bytes:
    return _text(key) + struct.pack("<I", _STRING) + _text(value)


def number(key: str, value: float) -> bytes:
    """A key with an integer (uint32) or a float (float32)."""
    if isinstance(value, int):
        return _text(key) + struct.pack("<II", _UINT32, value)
    return _text(key) + struct.pack("<If", _FLOAT32, value)


def write(
    path: Path,
    pairs: Sequence[bytes],
    entries: Sequence[Entry],
    *,
    alignment: int = ALIGNMENT,
    progress: Progress | None = None,
) -> None:
    """Write a file; the tensors' bytes are asked for one after the other."""
    offsets, end = [], 0
    for entry in entries:
        offsets.append(end)
        end += _padded(entry.size, alignment)
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", VERSION, len(entries), len(pairs)))
        file.writelines(pairs)
        for entry, offset in zip(entries, offsets, strict=True):
            shape = struct.pack(f"<I{len(entry.shape)}Q", len(entry.shape), *entry.shape)
            file.write(_text(entry.name) + shape + struct.pack("<IQ", entry.type, offset))
        file.write(bytes(_padded(file.tell(), alignment) - file.tell()))
        done = 0
        for piece in _pieces(entries, alignment):
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, end)


def _pieces(entries: Sequence[Entry], alignment: int) -> Iterator[Any]:
    for entry in entries:
        written = 0
        for piece in entry.data():
            written += len(piece)
            yield piece
        assert written == entry.size, f"{entry.name} has {written} bytes, not {entry.size}"
        yield bytes(_padded(written, alignment) - written)


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw
