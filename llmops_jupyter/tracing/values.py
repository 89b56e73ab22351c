"""Any value as JSON that fits: tracing never fails on what a notebook passes around."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from llmops_jupyter.tracing.messages import clean

MAX_VALUE = 200_000  # characters of JSON in a row
MAX_TEXT = 10_000_000  # characters of one text
MAX_ITEMS = 10_000  # of one list or mapping
MAX_NODES = 100_000  # of a whole value
MAX_DEPTH = 60
MAX_BITS = 10_000  # Python refuses to write longer whole numbers
LEAST = 50

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

CUT = "llmops.cut"
VALUE = "llmops.value"


def plain(value: Any) -> Any:
    """A copy as JSON values, as it is now; never raises.

    Other objects become their text, numbers that JSON lacks (NaN, infinity) their name. What is too
    deep, too long or refers to itself is replaced by a note.
    """
    return _Copy().of(value, 0)


def column(value: Any) -> str | int | float | None:
    """A value as a column of SQLite can hold it."""
    if type(value) is str:
        return clean(value)
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return int(value)
    return str(plain(value))


class _Copy:
    """One copy: counts what it has made, and knows what it is inside of."""

    def __init__(self) -> None:
        self.nodes = 0
        self.inside: set[int] = set()

    def of(self, value: Any, depth: int) -> Any:
        if type(value) is str and len(value) < MAX_TEXT:  # the most common by far
            self.nodes += 1
            return clean(value)
        try:
            return self._of(value, depth)
        except Exception:  # noqa: BLE001 - whatever an object's own methods raise
            return f"<{type(value).__name__}>"

    def _of(self, value: Any, depth: int) -> Any:
        self.nodes += 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return shortened(clean(str(value)), MAX_TEXT)
        if isinstance(value, int):
            return int(value) if value.bit_length() <= MAX_BITS else f"<{type(value).__name__}>"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else json.dumps(float(value))
        mapping = type(value) is dict or isinstance(value, Mapping)
        if mapping or isinstance(value, list | tuple | set | frozenset):
            if id(value) in self.inside or depth > MAX_DEPTH or self.nodes > MAX_NODES:
                return f"<{type(value).__name__}>"
            self.inside.add(id(value))
            try:
                return (self._mapping if mapping else self._items)(value, depth + 1)
            finally:
                self.inside.discard(id(value))
        dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
        if callable(dump) and depth <= MAX_DEPTH:
            return self.of(dump(mode="json"), depth + 1)
        return shortened(clean(str(value)), MAX_TEXT)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in list(value.items())[:MAX_ITEMS]:
            name = text = clean(key) if type(key) is str else str(self.of(key, depth))
            again = 1
            while name in made:  # two keys with one text
                again += 1
                name = f"{text} {again}"
            made[name] = self.of(item, depth)
        return made

    def _items(self, value: Iterable[Any], depth: int) -> list[Any]:
        return [self.of(item, depth) for item in list(value)[:MAX_ITEMS]]


def shortened(text: str, limit: int) -> str:
    """A text of at most about `limit` characters, with a note of how long it was."""
    return text if len(text) <= limit else f"{text[:limit]}… (cut, {len(text)} characters)"


def fitted(mapping: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A mapping of plain values as JSON of at most 200,000 characters, and as it reads back.

    Its longest texts and lists are cut, so that it stays a mapping.
    """
    if not mapping:
        return "{}", {}
    made: Any = dict(mapping)
    text = _dumped(made)
    limit = MAX_VALUE // 2
    length = len(text)
    while len(text) > MAX_VALUE and limit >= LEAST:
        made = _cut(mapping, limit)
        text = _dumped(made)
        limit //= 2
    if len(text) > MAX_VALUE:
        made = {CUT: f"{length} characters"}
        text = _dumped(made)
    return text, made


def read(text: str) -> dict[str, Any]:
    """A mapping that was stored; what older releases cut to a text stands under ``llmops.value``."""
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {VALUE: value}


def _dumped(value: Any) -> str:
    return clean(_ENCODER.encode(value))


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return shortened(value, limit)
    if isinstance(value, list):
        more = [f"… ({len(value) - limit} more)"] if len(value) > limit else []
        return [*(_cut(item, limit) for item in value[:limit]), *more]
    if isinstance(value, Mapping):
        kept = list(value.items())[:limit]
        made = {shortened(str(key), limit): _cut(item, limit) for key, item in kept}
        if len(value) > limit:
            made["…"] = f"{len(value) - limit} more"
        return made
    return value
