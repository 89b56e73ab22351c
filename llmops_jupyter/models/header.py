"""The header of a GGUF file, read step by step and never trusted.

gguf-py's reader makes a NumPy view for each of the vocabulary's entries, which takes seconds, and
fails in odd ways on a damaged file. This one skips long arrays, reads no weights and says at which
point a file ends. The layout is that of `docs/gguf.md` in the ggml repository, versions 2 and 3.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from llmops_jupyter.errors import ModelError, ModelFormatError, ModelTruncatedError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
CHUNK = 1 << 20
LONGEST_TEXT = 16 << 20
LONGEST_ARRAY = 4096
MOST_DIMENSIONS = 4
MOST_ENTRIES = 1 << 20
MOST_TEXTS = 1 << 24
DEFAULT_ALIGNMENT = 32

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9

_OTHER_FORMATS = (
    (b"version https://git-lfs", "a Git LFS pointer without the weights. Run: git lfs pull"),
    (b"<", "a web page, not a model. Download the file itself"),
    (b"PK\x03\x04", "a PyTorch or zip archive. Convert it to GGUF first"),
    (b"ggml", "in the old GGML format. Download a GGUF copy of the model"),
    (b"lmgg", "in the old GGML format. Download a GGUF copy of the model"),
    (b"tjgg", "in the old GGJT format. Download a GGUF copy of the model"),
)


@dataclass(frozen=True)
class Tensor:
    """One entry of the tensor table; `offset` counts from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def elements(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True)
class Header:
    """Keys and tensors of a GGUF file.

    An array of more than `LONGEST_ARRAY` entries is left out of `values`; `lengths` has the number
    of entries of every array. `data_offset` is where the weights begin, in bytes from the start;
    `extents` says from which byte to which one each key lies, with its value.
    """

    version: int
    values: dict[str, Any]
    lengths: dict[str, int]
    tensors: tuple[Tensor, ...]
    data_offset: int
    size: int
    extents: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)


class _Cursor:
    """Reads forward through a file, a chunk at a time."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file = file
        self._path = path
        self._buffer = b""
        self._start = 0
        self.size = size
        self.at = 0

    def _need(self, count: int) -> int:
        """Have `count` bytes from the current position in the buffer; the index of the first."""
        index = self.at - self._start
        if index + count <= len(self._buffer):
            return index
        if self.at + count > self.size:
            raise self.truncated()
        self._file.seek(self.at)
        self._buffer = self._file.read(max(count, CHUNK))
        self._start = self.at
        if len(self._buffer) < count:
            raise self.truncated()
        return 0

    def truncated(self) -> ModelTruncatedError:
        return ModelTruncatedError(
            f"{str(self._path)!r} ends within its header, after {self.size:,} bytes. "
            "Download or copy it again."
        )

    def damaged(self, what: str) -> ModelFormatError:
        return ModelFormatError(
            f"{str(self._path)!r} is damaged: {what} at byte {self.at:,}. "
            "Download or copy it again."
        )

    def number(self, code: str) -> Any:
        layout = f"<{code}"
        size = struct.calcsize(layout)
        index = self._need(size)
        (value,) = struct.unpack_from(layout, self._buffer, index)
        self.at += size
        return value

    def skip(self, count: int) -> None:
        if self.at + count > self.size:
            raise self.truncated()
        self.at += count

    def text(self) -> str:
        length = self.number("Q")
        if self.at + length > self.size:
            raise self.truncated()
        if length > LONGEST_TEXT:
            raise self.damaged(f"a text of {length:,} bytes")
        index = self._need(length)
        raw = self._buffer[index : index + length]
        self.at += length
        return raw.decode("utf-8", errors="replace")

    def skip_texts(self, count: int) -> None:
        for _ in range(count):
            index = self._need(8)
            self.skip(8 + int.from_bytes(self._buffer[index : index + 8], "little"))


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read keys and tensor table of a GGUF file without touching the weights.

    Raises:
        ModelError: there is no such file, it is a folder, or it cannot be read.
        ModelFormatError: it is not GGUF, or a version or value that is not known.
        ModelTruncatedError: it ends within the header.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ModelError(f"{str(path)!r} is a folder. Name the .gguf file inside it.")
        with path.open("rb") as file:
            return _read(_Cursor(file, path, size), path)
    except FileNotFoundError as e:
        raise ModelError(
            f"There is no file {str(path)!r}. Check the path; %model list shows what is registered."
        ) from e
    except OSError as e:
        raise ModelError(
            f"{str(path)!r} cannot be read: {e.strerror or e}. Check its permissions and the disk."
        ) from e


def _read(cursor: _Cursor, path: Path) -> Header:
    version = _check_start(cursor, path)
    n_tensors, n_keys = cursor.number("Q"), cursor.number("Q")
    if max(n_tensors, n_keys) > MOST_ENTRIES:
        raise cursor.damaged(f"{n_tensors:,} tensors and {n_keys:,} keys")
    values: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    extents: dict[str, tuple[int, int]] = {}
    for _ in range(n_keys):
        start = cursor.at
        key = cursor.text()
        kind = cursor.number("I")
        if kind == _ARRAY:
            item, count = cursor.number("I"), cursor.number("Q")
            lengths[key] = count
            items = _read_array(cursor, item, count)
            if items is not None:
                values[key] = items
        else:
            values[key] = _read_value(cursor, kind)
        extents[key] = (start, cursor.at)
    tensors = tuple(_read_tensor(cursor) for _ in range(n_tensors))
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise cursor.damaged(f"an alignment of {alignment!r}")
    data_offset = -(-cursor.at // alignment) * alignment
    return Header(version, values, lengths, tensors, data_offset, cursor.size, extents)


def _check_start(cursor: _Cursor, path: Path) -> int:
    """Magic and version of the file; leaves the cursor behind them."""
    if cursor.size == 0:
        raise ModelFormatError(f"{str(path)!r} is empty. Download or copy it again.")
    with path.open("rb") as file:
        start = file.read(32)
    if start[:4] != MAGIC:
        for magic, what in _OTHER_FORMATS:
            if start.startswith(magic):
                raise ModelFormatError(f"{str(path)!r} is {what}.")
        raise ModelFormatError(
            f"{str(path)!r} is not a GGUF file: it begins with {start[:4]!r} instead of {MAGIC!r}. "
            "Name a .gguf file."
        )
    cursor.skip(len(MAGIC))
    version: int = cursor.number("I")
    if version and version & 0xFFFF == 0:
        raise ModelFormatError(
            f"{str(path)!r} was written for big-endian machines. Download the ordinary copy."
        )
    if version not in VERSIONS:
        raise ModelFormatError(
            f"{str(path)!r} has GGUF version {version}; versions 2 and 3 can be read. "
            "Download or convert a copy in one of these."
        )
    return version


def _read_value(cursor: _Cursor, kind: int) -> Any:
    if kind == _STRING:
        return cursor.text()
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    raise cursor.damaged(f"a value of unknown type {kind}")


def _read_array(cursor: _Cursor, item: int, count: int) -> list[Any] | None:
    """The entries of an array, or None for a long one, which is skipped."""
    if item == _STRING:
        if count > MOST_TEXTS:
            raise cursor.damaged(f"an array of {count:,} texts")
        if count > LONGEST_ARRAY:
            cursor.skip_texts(count)
            return None
    elif item not in _SCALARS:
        raise cursor.damaged(f"an array of unknown type {item}")
    elif count > LONGEST_ARRAY:
        cursor.skip(count * struct.calcsize(f"<{_SCALARS[item]}"))
        return None
    return [_read_value(cursor, item) for _ in range(count)]


def _read_tensor(cursor: _Cursor) -> Tensor:
    name = cursor.text()
    n_dimensions = cursor.number("I")
    if n_dimensions > MOST_DIMENSIONS:
        raise cursor.damaged(f"a tensor of {n_dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))
    return Tensor(name, shape, cursor.number("I"), cursor.number("Q"))
