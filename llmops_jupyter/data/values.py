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
MAX_DEPTH = 200
MOST_BITS = 14_284  # 4,300 decimal digits, the most that Python reads from text


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A value as JSON can hold it: not-a-number becomes null, dates become ISO text.

    Raises:
        DataError: bytes, an infinite or overlong number, invalid Unicode, more than 200 levels, or an
            object of another kind.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _integer(value, where)
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        if math.isinf(value):
            raise DataError(f"{where} is infinite. Replace it with a number or leave it out.")
        return None if math.isnan(value) else value
    if depth >= MAX_DEPTH:
        raise DataError(
            f"{where[:80]}… nests deeper than {MAX_DEPTH} levels or holds itself. Give a flatter value."
        )
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{where}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(items)]
    if isinstance(value, datetime.date | datetime.time):
        return None if str(value) == "NaT" else value.isoformat()
    if isinstance(value, bytes | bytearray):
        raise DataError(
            f"{where} is bytes, not text. Decode it, for example with .decode('utf-8')."
        )
    return _foreign(value, where, depth)


def _foreign(value: Any, where: str, depth: int) -> Any:
    """NumPy's scalars and arrays, and pandas' missing values."""
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":
        # As numbers they would lose what they are: below microseconds NumPy gives integers.
        if getattr(value, "ndim", 0):
            return [plain(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
        return _moment(value)
    if getattr(getattr(value, "dtype", None), "kind", "") != "m":
        for method in ("item", "tolist"):
            convert = getattr(value, method, None)
            if callable(convert) and (method == "tolist" or getattr(value, "ndim", 1) == 0):
                return plain(convert(), where, depth + 1)
    if str(value) in ("<NA>", "NaT"):
        return None
    raise DataError(
        f"{where} is a {type(value).__name__}, which cannot be kept. Turn it into text or numbers."
    )


def _moment(value: Any) -> str | None:
    """A NumPy moment as ISO text: what Python's own types write, finer ones with all their digits."""
    if str(value) == "NaT":
        return None
    fine = value.item()
    if isinstance(fine, datetime.date):
        return fine.isoformat()
    coarse = value.astype("datetime64[us]")
    made = coarse.item()
    return made.isoformat() if coarse == value and isinstance(made, datetime.date) else str(value)


def _integer(value: int, where: str) -> int:
    if value.bit_length() > MOST_BITS:
        raise DataError(f"{where} is a number of more than 4,300 digits. Keep it as text.")
    return value


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


def changed_columns(before: Row, after: Row) -> tuple[str, ...]:
    """Columns whose values are not the same as JSON: 1, 1.0 and true differ."""
    names = dict.fromkeys([*before, *after])
    return tuple(n for n in names if _kept(before, n) != _kept(after, n))


def _kept(row: Row, name: str) -> str | None:
    return canonical({name: row[name]}) if name in row else None


def digest(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
