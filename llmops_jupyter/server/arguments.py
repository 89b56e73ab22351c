"""What a route takes, from its query or its body: every value is checked, and what is not known is refused."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean

# A server takes these itself: the token of whoever asks, and whether asking counts as activity.
OF_SERVER = frozenset(["token", "_xsrf", "no_track_activity"])
MOST_BODY = 1 << 20
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WHOLE = re.compile(r"-?[0-9]{1,15}")


class BodyTooLargeError(OptionError):
    """The body is longer than any that is needed."""


@dataclass(frozen=True, kw_only=True)
class Field(ABC):
    """What one argument may be; one that may be left out has a default."""

    required: bool = False
    default: Any = None

    @abstractmethod
    def read(self, name: str, value: Any) -> Any:
        """The value, checked; an OptionError says what is wrong with it."""


@dataclass(frozen=True)
class Text(Field):
    """A text of so many characters, without control characters; one of `choices`, where there are any."""

    most: int = 300
    least: int = 0
    choices: Collection[str] = ()

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise OptionError(f"{name} is a text, not {_kind(value)}.")
        if not self.least <= len(value) <= self.most:
            raise OptionError(
                f"{name} has from {self.least} to {self.most:,} characters, not {len(value):,}."
            )
        if _CONTROLS.search(value):
            raise OptionError(f"{name} has a control character. Leave it out.")
        if self.choices and value not in self.choices:
            raise OptionError(f"{name} is one of {', '.join(self.choices)}, not {value!r:.60}.")
        return value.encode("utf-8", "replace").decode()  # no halves of characters


@dataclass(frozen=True)
class Whole(Field):
    """A whole number within limits; with `or_none` also null."""

    least: int = 1
    most: int = 2**53 - 1
    or_none: bool = False

    def read(self, name: str, value: Any) -> int | None:
        if value is None and self.or_none:
            return None
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise OptionError(f"{name} is a whole number, not {_kind(value)}.")
        if not self.least <= value <= self.most:
            raise OptionError(f"{name} lies between {self.least:,} and {self.most:,}.")
        return value


@dataclass(frozen=True)
class Judged(Field):
    """What a score says: a finite number, a short text, or yes or no."""

    required: bool = field(default=True, kw_only=True)

    def read(self, name: str, value: Any) -> float | str | bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if not abs(value) < 1e300 or not math.isfinite(value):
                raise OptionError(f"{name} is a finite number.")
            return float(value)
        if isinstance(value, str):
            return Text(most=200, least=1).read(name, value)
        raise OptionError(f"{name} is a number, a text, or true or false, not {_kind(value)}.")


@dataclass(frozen=True)
class Texts(Field):
    """A list of texts."""

    each: Text = Text(most=64, least=1)
    most: int = 1_000
    required: bool = field(default=True, kw_only=True)

    def read(self, name: str, value: Any) -> Sequence[str]:
        if not isinstance(value, list):
            raise OptionError(f"{name} is a list of texts, not {_kind(value)}.")
        if not 1 <= len(value) <= self.most:
            raise OptionError(f"{name} has from 1 to {self.most:,} entries, not {len(value):,}.")
        return [self.each.read(f"an entry of {name}", one) for one in value]


def read_query(given: Mapping[str, Sequence[str]], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The arguments of a query by name; of those that were left out, their defaults.

    Raises:
        OptionError: a value cannot be used, is missing or given twice, or a name is not known.
    """
    values: dict[str, Any] = {}
    for name, found in given.items():
        # A browser's client adds the time to an address, so that nothing between answers from memory.
        if name in OF_SERVER or (name.isdigit() and found == [""]):
            continue
        if len(found) > 1 and name in fields:
            raise OptionError(f"{name} is given {len(found)} times. Give it once.")
        values[name] = found[0]
    return _read(values, fields, "the query")


def read_body(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The members of a JSON object, as `read_query`.

    Raises:
        OptionError: it is no such object, or as for `read_query`.
        BodyTooLargeError: it is too long.
    """
    if len(body) > MOST_BODY:
        raise BodyTooLargeError(f"The body has more than {MOST_BODY // 1024:,} kB. Send less.")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise OptionError(
            "The body is no JSON. Send an object, with the content type application/json."
        ) from e
    if not isinstance(value, dict):
        raise OptionError(f"The body is a JSON object, not {_kind(value)}.")
    return _read(value, fields, "the body")


def _read(values: Mapping[str, Any], fields: Mapping[str, Field], where: str) -> dict[str, Any]:
    for name in values:
        if name not in fields:
            known = f"It has {', '.join(fields)}." if fields else "It takes nothing."
            raise OptionError(
                f"{name!r:.80} is not known to {where}.{did_you_mean(name[:80], fields)} {known}"
            )
    found = {}
    for name, wanted in fields.items():
        if name in values:
            found[name] = wanted.read(name, values[name])
        elif wanted.required:
            raise OptionError(f"{name} is missing from {where}.")
        else:
            found[name] = wanted.default
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _kind(value: Any) -> str:
    kinds = {str: "a text", bool: "true or false", int: "a number", float: "a number"}
    if value is None:
        return "null"
    return kinds.get(type(value), "a list" if isinstance(value, list) else "an object")
