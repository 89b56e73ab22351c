"""Values of rows as JSON, and hashes of them."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.errors import DataError

Row = dict[str, Any]


def plain(value: Any, where: str) -> Any:
    """A value as JSON can hold it: not-a-number becomes null, dates become ISO text.

    Raises:
        DataError: bytes, an infinite number, invalid Unicode, or an object of another kind.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        if math.isinf(value):
            raise DataError(f"{where} is infinite. Replace it with a number or leave it out.")
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(items)]
    if isinstance(value, datetime.date | datetime.time):
        return None if str(value) == "NaT" else value.isoformat()
    if isinstance(value, bytes | bytearray):
        raise DataError(
            f"{where} is bytes, not text. Decode it, for example with .decode('utf-8')."
        )
    for method in ("item", "tolist"):  # NumPy scalars and arrays
        convert = getattr(value, method, None)
        if callable(convert) and (method == "tolist" or getattr(value, "ndim", 1) == 0):
            return plain(convert(), where)
    if str(value) in ("<NA>", "NaT"):
        return None
    raise DataError(
        f"{where} is a {type(value).__name__}, which cannot be kept. Turn it into text or numbers."
    )


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise DataError(
            f"{where} is not valid Unicode at character {e.start}. Read the text again as UTF-8."
        ) from e
    return value


def canonical(row: Mapping[str, Any]) -> str:
    """JSON text that is equal for equal rows, whatever the order of their keys."""
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
