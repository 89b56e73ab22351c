"""Type hints as JSON schemas, and JSON values as what the hints ask for."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from llmops_jupyter.errors import OptionError

_ANYTHING = {"type": ["string", "number", "boolean", "null", "array", "object"]}
_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: _ANYTHING,
    object: _ANYTHING,
    datetime.date: {"type": "string", "format": "date"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": "number"},
    pathlib.Path: {"type": "string"},
}
_LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)
_UNIONS = (typing.Union, types.UnionType)
KNOWN = (
    "str, int, float, bool, Literal, Enum, list, tuple, set, dict, dates, dataclasses, TypedDict, pydantic "
    "models, and unions of these"
)


class UnknownHintError(Exception):
    """A type hint that has no JSON schema."""


def schema_of(hint: Any, inside: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The JSON schema of the values that a hint allows, without references.

    `inside` are the classes that the hint stands in. Raises UnknownHintError.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        said = " ".join(m for m in parts[1:] if isinstance(m, str))
        return {**schema_of(parts[0], inside), **({"description": said} if said else {})}
    if isinstance(hint, typing.NewType):
        return schema_of(hint.__supertype__, inside)
    if isinstance(hint, collections.abc.Hashable) and hint in _PLAIN:
        return dict(_PLAIN[hint])
    if origin is typing.Literal:
        return {"enum": list(parts)}
    if origin in _UNIONS:
        return {"anyOf": [schema_of(part, inside) for part in parts]}
    if origin is tuple or hint is tuple:
        return _tuple(parts, inside)
    if origin in _LISTS or hint in _LISTS:
        found: dict[str, Any] = {"type": "array"}
        if parts:
            found["items"] = schema_of(parts[0], inside)
        if set in (origin, hint) or frozenset in (origin, hint):
            found["uniqueItems"] = True
        return found
    if origin in _MAPPINGS or hint in _MAPPINGS:
        if parts and parts[0] is not str:
            raise UnknownHintError(f"the keys of {named(hint)} are not str")
        values = schema_of(parts[1], inside) if parts else {}
        return {"type": "object", **({"additionalProperties": values} if parts else {})}
    if inspect.isclass(hint):
        return _class(hint, inside)
    raise UnknownHintError(f"{named(hint)} has no JSON form")


def _tuple(parts: tuple[Any, ...], inside: tuple[Any, ...]) -> dict[str, Any]:
    if not parts:
        return {"type": "array"}
    if len(parts) == 2 and parts[1] is Ellipsis:
        return {"type": "array", "items": schema_of(parts[0], inside)}
    items = [schema_of(part, inside) for part in parts]
    return {
        "type": "array",
        "prefixItems": items,
        "minItems": len(items),
        "maxItems": len(items),
    }


def _class(kind: type, inside: tuple[Any, ...]) -> dict[str, Any]:
    if issubclass(kind, enum.Enum):
        return {"enum": list(_members(kind))}
    if kind in inside:
        raise UnknownHintError(f"{named(kind)} contains itself")
    make = getattr(kind, "model_json_schema", None)
    if callable(make):
        return without_references(make())
    fields = fields_of(kind)
    if fields is None:
        raise UnknownHintError(f"{named(kind)} has no JSON form")
    return object_of(
        {
            name: (schema_of(hint, (*inside, kind)), default)
            for name, (hint, default) in fields.items()
        }
    )


def object_of(properties: Mapping[str, tuple[Mapping[str, Any], Any]]) -> dict[str, Any]:
    """The schema of an object from the schema and the default (or `NEEDED`) of each property."""
    found: dict[str, Any] = {"type": "object", "properties": {}}
    for name, (schema, default) in properties.items():
        shown = dict(schema)
        if default is not NEEDED and isinstance(default, str | int | float | bool):
            shown["default"] = default.value if isinstance(default, enum.Enum) else default
        found["properties"][name] = shown
    found["required"] = [name for name, (_, default) in properties.items() if default is NEEDED]
    found["additionalProperties"] = False
    return found


NEEDED = inspect.Parameter.empty


def fields_of(kind: type) -> dict[str, tuple[Any, Any]] | None:
    """Hint and default of each field of a dataclass or TypedDict; None for other classes."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {f.name: (hints[f.name], _default(f)) for f in dataclasses.fields(kind) if f.init}
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        needed = getattr(kind, "__required_keys__", frozenset(hints))
        return {
            name: (_without_mark(hint), NEEDED if name in needed else None)
            for name, hint in hints.items()
        }
    return None


def _without_mark(hint: Any) -> Any:
    """A hint without Required or NotRequired around it."""
    origin = typing.get_origin(hint)
    if getattr(origin, "_name", "") in ("Required", "NotRequired"):
        return typing.get_args(hint)[0]
    return hint


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return NEEDED if field.default_factory is dataclasses.MISSING else None


def _members(kind: type[enum.Enum]) -> dict[Any, enum.Enum]:
    """The members by what stands for them in JSON: the value, or the name where values have no JSON form."""
    plain = all(isinstance(member.value, str | int | float) for member in kind)
    return {(m.value if plain else m.name): m for m in kind}


def without_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with its `$ref` replaced by what they refer to. Raises UnknownHintError for circles."""
    known = schema.get("$defs", {})

    def put(value: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(value, list):
            return [put(part, inside) for part in value]
        if not isinstance(value, Mapping):
            return value
        reference = value.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            if name in inside or name not in known:
                raise UnknownHintError(f"{name} contains itself")
            rest = {k: v for k, v in value.items() if k != "$ref"}
            return {**put(known[name], (*inside, name)), **rest}
        return {k: put(v, inside) for k, v in value.items() if k != "$defs"}

    made: dict[str, Any] = put(schema, ())
    return made


def value_of(hint: Any, value: Any) -> Any:
    """The value that a JSON value, which satisfies the hint's schema, stands for.

    Raises:
        ValueError, TypeError: it stands for none, for instance a date that there is not.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return value_of(parts[0], value)
    if isinstance(hint, typing.NewType):
        return value_of(hint.__supertype__, value)
    if origin in _UNIONS:
        return _of_union(parts, value)
    if isinstance(value, list):
        return _of_list(origin or hint, parts, value)
    if isinstance(value, dict) and (origin in _MAPPINGS or hint in _MAPPINGS):
        return {k: value_of(parts[1], v) for k, v in value.items()} if parts else value
    if hint is float or (hint is int and isinstance(value, float)):
        return hint(value)
    made: Callable[[Any], Any] | None = _MADE.get(hint) if inspect.isclass(hint) else None
    if made is not None:
        return made(value)
    return _of_class(hint, value) if inspect.isclass(hint) else value


def _instant(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.upper().replace("Z", "+00:00"))


_MADE: Mapping[Any, Callable[[Any], Any]] = {
    datetime.datetime: _instant,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: lambda text: datetime.time.fromisoformat(text.upper().replace("Z", "+00:00")),
    uuid.UUID: uuid.UUID,
    decimal.Decimal: lambda number: decimal.Decimal(str(number)),
    pathlib.Path: pathlib.Path,
}


def _of_union(parts: tuple[Any, ...], value: Any) -> Any:
    import jsonschema

    for part in parts:
        if jsonschema.Draft202012Validator(schema_of(part)).is_valid(value):
            try:
                return value_of(part, value)
            except (ValueError, TypeError):
                continue
    raise ValueError(f"{value!r:.80} is none of {', '.join(map(named, parts))}")


def _of_list(kind: Any, parts: tuple[Any, ...], value: list[Any]) -> Any:
    if kind is tuple:
        if parts and parts[-1] is not Ellipsis:
            return tuple(value_of(part, item) for part, item in zip(parts, value, strict=True))
        return tuple(value_of(parts[0], item) for item in value) if parts else tuple(value)
    items = [value_of(parts[0], item) for item in value] if parts else value
    return kind(items) if kind in (set, frozenset) else items


def _of_class(kind: type, value: Any) -> Any:
    if issubclass(kind, enum.Enum):
        return _members(kind)[value]
    make = getattr(kind, "model_validate", None)
    if callable(make):
        return make(value)
    fields = fields_of(kind)
    if fields is None:
        return value
    made = {name: value_of(fields[name][0], item) for name, item in value.items()}
    return kind(**made)


def named(hint: Any) -> str:
    """A hint as people write it."""
    if inspect.isclass(hint) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")


def hints_of(function: Callable[..., Any], label: str) -> dict[str, Any]:
    """The type hints of a function, with forward references resolved.

    Raises:
        OptionError: one names what is not defined.
    """
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(inspect.unwrap(target), include_extras=True)
    except (NameError, TypeError) as e:
        raise OptionError(
            f"A type hint of the tool {label!r} cannot be read: {e}. Define what it names before the tool."
        ) from e
