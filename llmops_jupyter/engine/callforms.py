"""The forms in which models write calls of tools, and the reading of what they wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_BETWEEN = re.compile(r"[\s;,]*")


@dataclass(frozen=True)
class CallForm:
    """How a model writes calls.

    `begin` and `end` stand around each call, or around all of them if they are `listed`; `arguments` is the
    key of the arguments. With `bare` an answer that begins with a call needs no mark. `style` 'named' is
    the name, `separator` and the arguments, instead of an object with both.
    """

    name: str
    begin: str
    end: str = ""
    arguments: str = "arguments"
    listed: bool = False
    bare: bool = False
    style: Literal["object", "named"] = "object"
    separator: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that may be control tokens of the model."""
        return tuple(t for t in (self.begin, self.end, self.separator, _CALL_ID) if t)


_CALL_ID = "[CALL_ID]"
HERMES = CallForm("hermes", "<tool_call>", "</tool_call>")
LLAMA = CallForm("llama", "<|python_tag|>", arguments="parameters", bare=True)
MISTRAL = CallForm("mistral", "[TOOL_CALLS]", listed=True)
MISTRAL_NAMED = CallForm("mistral-named", "[TOOL_CALLS]", style="named", separator="[ARGS]")


def form_of(template: str) -> CallForm | None:
    """The form of calls that a chat template knows; None if it knows no tools, or another form."""
    if not re.search(r"\btools\b", template):
        return None
    if "[TOOL_CALLS]" in template:
        return MISTRAL_NAMED if "[ARGS]" in template else MISTRAL
    # Some write the arguments as tags, one for each, or have other marks beside these.
    if re.search(r"<function=|<arg_key>|<invoke|<tool_calls>", template):
        return None
    if "<tool_call>" in template:
        return HERMES
    if "<|python_tag|>" in template or re.search(r'"name": function name', template):
        return LLAMA
    return None


def read_calls(raw: str, form: CallForm, *, cut: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the calls in what a model wrote, from the first mark on.

    With `cut` the text may end within a call; those before it are given, if there are any.

    Raises:
        ValueError: it is no call, or one that was not finished.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    try:
        (_named if form.style == "named" else _objects)(raw, form, found)
    except RecursionError as e:
        if not cut:
            raise ValueError("the call is nested too deep") from e
    except ValueError:
        if not cut:
            raise
    if not found and not cut:
        raise ValueError("there is no call")
    return found


def _named(raw: str, form: CallForm, found: list[tuple[str, dict[str, Any]]]) -> None:
    decoder, place = json.JSONDecoder(strict=False), 0
    while place < len(raw):
        if not raw.startswith(form.begin, place):
            raise ValueError(f"{raw[place : place + 20]!r} is no call")
        middle = raw.find(form.separator, place)
        if middle < 0:
            raise ValueError("the call was not finished")
        name = raw[place + len(form.begin) : middle].partition(_CALL_ID)[0].strip()
        value, place = decoder.raw_decode(raw, _skipped(raw, middle + len(form.separator)))
        found.append((name, _arguments(value)))
        place = _skipped(raw, place)


def _objects(raw: str, form: CallForm, found: list[tuple[str, dict[str, Any]]]) -> None:
    decoder = json.JSONDecoder(strict=False)
    place = _skipped(raw, 0)
    while place < len(raw):
        mark = next((m for m in (form.begin, form.end) if m and raw.startswith(m, place)), None)
        if mark is not None:
            place = _skipped(raw, place + len(mark))
            continue
        value, place = decoder.raw_decode(raw, place)
        for one in value if isinstance(value, list) else [value]:
            found.append(_call(one))
        place = _skipped(raw, place)


def _call(value: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(value, Mapping):
        inner = value.get("function")
        value = inner if isinstance(inner, Mapping) else value
        name = value.get("name")
        if isinstance(name, str) and name:
            return name, _arguments(value.get("arguments", value.get("parameters")))
    raise ValueError("a call has a name and arguments")


def _arguments(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = json.loads(value, strict=False)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("the arguments of a call are an object")  # noqa: TRY004
    return dict(value)


def _skipped(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    return match.end() if match else place
