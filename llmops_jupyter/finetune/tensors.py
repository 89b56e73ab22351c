"""safetensors files with NumPy alone: those of PEFT hold BF16, which NumPy lacks.

Eight bytes with the length of a JSON table, the table, then the tensors
(https://github.com/huggingface/safetensors, format).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import ModelFormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_TABLE = 100 << 20
_ALIGNMENT = 8
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class Table:
    """What a file holds: texts, and of each tensor its type, shape and bytes, counted from `start`."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, Mapping[str, Any]]
    start: int


def read_table(path: Path) -> Table:
    """The table of a file, without its tensors.

    Raises:
        ModelFormatError: it is no such file, or it is damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, LONGEST_TABLE):
                raise _damaged(path, "its table does not fit into it")
            table = json.loads(file.read(length))
        metadata = table.pop("__metadata__", {})
        ends = [int(t["data_offsets"][1]) for t in table.values()]
    except OSError as e:
        raise ModelFormatError(
            f"{str(path)!r} cannot be read ({e.strerror}). Check the path."
        ) from e
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as e:
        raise _damaged(path, "its table cannot be read") from e
    if max(ends, default=0) > size - 8 - length:
        raise _damaged(path, "it ends before its last tensor")
    return Table(metadata, table, 8 + length)


def read_tensors(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensors of a file in F32, one after the other.

    Raises:
        ModelFormatError: as `read_table`, or a tensor is of a kind that holds no plain numbers.
    """
    import numpy as np

    table = read_table(path)
    with path.open("rb") as file:
        for name, about in table.tensors.items():
            kind, shape, (start, end) = about["dtype"], about["shape"], about["data_offsets"]
            if kind not in _TYPES:
                raise ModelFormatError(
                    f"{str(path)!r} holds {name!r} as {kind}; {', '.join(_TYPES)} can be read. "
                    "Save the adapter again in F32."
                )
            file.seek(table.start + start)
            raw = np.frombuffer(file.read(end - start), dtype=_TYPES[kind])
            if raw.size != int(np.prod(shape, dtype=np.int64)):
                raise _damaged(path, f"{name!r} has not the size of its shape")
            if kind == "BF16":
                raw = (raw.astype(np.uint32) << 16).view(np.float32)
            yield name, raw.astype(np.float32).reshape(shape)


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]
) -> None:
    """Write a file in F32."""
    import numpy as np

    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, values in tensors.items():
        size = 4 * values.size
        table[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [end, end + size],
        }
        end += size
    raw = json.dumps(table).encode()
    raw += b" " * (-len(raw) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values, dtype="<f4").data.cast("B"))


def _damaged(path: Path, what: str) -> ModelFormatError:
    return ModelFormatError(
        f"{str(path)!r} is not a whole safetensors file: {what}. Copy or make it again."
    )
