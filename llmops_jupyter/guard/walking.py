"""The texts in a value, however deep: in lists, tuples, sets and mappings, in messages, completions and other records."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from llmops_jupyter.errors import GuardError
from llmops_jupyter.records import Completion, Message
from llmops_jupyter.records.messages import ROLES

Path = tuple[Any, ...]
# What changes a text, by the path to it; it may only look.
Change = Callable[[Path, str], str]

# Of these records the fields that hold what was said; of others all are looked through.
_SAID: Mapping[type, tuple[str, ...]] = {
    Completion: ("text", "reasoning", "parsed", "messages", "tool_calls"),
    Message: ("content", "tool_calls"),
}
# Attributes of objects that are none of these.
_ATTRIBUTES = ("text", "content")
_ROLES = {*ROLES, "developer", "function"}
_NO_TEXT = (type(None), bool, int, float, complex)


class Walk:
    """One walk through a value. `opaque` are the types of what it could not look into."""

    def __init__(self, change: Change) -> None:
        self.opaque: list[str] = []
        self._change = change
        self._inside: set[int] = set()

    def of(self, value: Any, path: Path = ()) -> Any:
        """The value with its texts changed; the same object if none of them was.

        Raises:
            GuardError: an object would have to be changed that cannot be.
        """
        if isinstance(value, str):
            changed = self._change(path, value)
            return value if changed == value else changed
        if isinstance(value, _NO_TEXT) or id(value) in self._inside:
            return value
        self._inside.add(id(value))
        try:
            return self._within(value, path)
        finally:
            self._inside.discard(id(value))

    def _within(self, value: Any, path: Path) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, path)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._record(value, path)
        if isinstance(getattr(type(value), "model_fields", None), Mapping):  # of pydantic
            changed = self._fields(value, tuple(type(value).model_fields), path)
            return value.model_copy(update=changed) if changed else value
        return self._object(value, path)

    def _mapping(self, value: Mapping[Any, Any], path: Path) -> Any:
        items = {}
        for key, item in value.items():
            role = key == "role" and isinstance(item, str) and item in _ROLES
            items[key] = item if role else self.of(item, (*path, key))
        if all(items[key] is item for key, item in value.items()):
            return value
        if isinstance(value, dict):
            made = copy.copy(value)
            made.update(items)
            return made
        return items

    def _items(self, value: Any, path: Path) -> Any:
        before = list(value)
        items = [self.of(item, (*path, i)) for i, item in enumerate(before)]
        if all(new is old for new, old in zip(items, before, strict=True)):
            return value
        kind = type(value)
        return kind(*items) if hasattr(kind, "_fields") else kind(items)  # a named tuple takes each

    def _record(self, value: Any, path: Path) -> Any:
        said = next((names for kind, names in _SAID.items() if isinstance(value, kind)), None)
        names = said or tuple(f.name for f in dataclasses.fields(value) if f.init)
        changed = self._fields(value, names, path)
        if not changed:
            return value
        if isinstance(value, Completion):  # token by token they would tell what was taken out
            changed["logprobs"] = ()
        try:
            return dataclasses.replace(value, **changed)
        except (TypeError, ValueError) as e:
            raise _cannot(value, e) from e

    def _fields(self, value: Any, names: tuple[str, ...], path: Path) -> dict[str, Any]:
        """The fields that have changed."""
        found = {}
        for name in names:
            old = getattr(value, name, None)
            new = self.of(old, (*path, name))
            if new is not old:
                found[name] = new
        return found

    def _object(self, value: Any, path: Path) -> Any:
        names = tuple(n for n in _ATTRIBUTES if isinstance(_attribute(value, n), str))
        if not names:
            self.opaque.append(type(value).__name__)
            return value
        changed = self._fields(value, names, path)
        if not changed:
            return value
        try:
            made = copy.copy(value)
            for name, text in changed.items():
                setattr(made, name, text)
        except Exception as e:
            raise _cannot(value, e) from e
        return made


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a property of a stranger
        return None


def _cannot(value: Any, error: Exception) -> GuardError:
    return GuardError(
        f"The policy changes a text of a {type(value).__name__}, which cannot be changed: {error}. Give the text itself."
    )
