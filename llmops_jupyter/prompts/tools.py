"""Python functions as tools of a model: their schemas, the check of arguments, and results as text."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from llmops_jupyter.errors import OptionError
from llmops_jupyter.prompts.signature import (
    KNOWN,
    UnknownHintError,
    hints_of,
    object_of,
    schema_of,
    value_of,
)
from llmops_jupyter.records import Tool

Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "__llmops_tool__"
# Characters of a result that the model gets, and rows of a table.
MOST_TEXT, MOST_ROWS = 8_000, 50
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class FunctionTool:
    """A function with what a model is told of it.

    With `side_effects` it is asked before the function is called.
    """

    function: Callable[..., Any]
    tool: Tool
    hints: Mapping[str, Any]
    side_effects: bool = False

    @property
    def name(self) -> str:
        return self.tool.name


class ArgumentError(Exception):
    """Arguments that a model gave and that the function does not take; the model is told."""


def tool(
    function: Any = None,
    *,
    side_effects: bool = False,
    name: str | None = None,
    description: str | None = None,
) -> Any:
    """Mark a function as a tool, as ``@lo.tool`` or ``@lo.tool(side_effects=True)``; it stays a function.

    A plain function can be a tool as well; the mark says what its signature does not: that calling it
    changes something outside, so that a person is asked first, or another name or description.

    Raises:
        OptionError: the signature is none that a model can be told.
    """

    def mark(target: Function) -> Function:
        setattr(target, MARK, (side_effects, name, description))
        as_tool(target)
        return target

    return mark if function is None else mark(function)


def as_tools(given: Any) -> tuple[FunctionTool, ...]:
    """Tools from a function or a list of functions.

    Raises:
        OptionError: one is no function, cannot be told to a model, or two have the same name.
    """
    if given is None:
        return ()
    several = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    if not several:
        raise OptionError("The list of tools is empty. Put functions in, or leave tools out.")
    found = tuple(one if isinstance(one, FunctionTool) else as_tool(one) for one in several)
    names = [one.name for one in found]
    for one in names:
        if names.count(one) > 1:
            raise OptionError(
                f"Two tools have the name {one!r}. Give one of them another: @lo.tool(name=…)"
            )
    return found


def as_tool(function: Any) -> FunctionTool:
    """A function as a tool; its schema comes from the type hints and the docstring (Google style).

    Raises:
        OptionError: it is no function, or its signature is none that a model can be told.
    """
    if not callable(function) or inspect.isclass(function):
        raise OptionError(
            f"A tool is a function, not {function!r:.80}. Give for instance tools=[find_order]."
        )
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    marked = getattr(function, MARK, None) or getattr(inner, MARK, None) or (False, None, None)
    side_effects, name, description = marked
    label = str(name or getattr(inner, "__name__", type(inner).__name__))
    if not _NAME.fullmatch(label):
        raise OptionError(
            f"A tool cannot be called {label!r}: a name has up to 64 letters, digits, _ and -. Give "
            "another: @lo.tool(name=…)"
        )
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise OptionError(
            f"The tool {label!r} is a generator; a tool returns its result. Return a list instead."
        )
    text = description if description is not None else inspect.getdoc(inner) or ""
    said, of_parameters = read_docstring(text)
    hints = hints_of(inner, label)
    properties = _properties(function, label, hints, of_parameters)
    made = Tool(label, said, object_of(properties))
    return FunctionTool(function, made, {n: hints[n] for n in properties}, bool(side_effects))


def _properties(
    function: Callable[..., Any], label: str, hints: Mapping[str, Any], said: Mapping[str, str]
) -> dict[str, tuple[dict[str, Any], Any]]:
    found: dict[str, tuple[dict[str, Any], Any]] = {}
    for name, parameter in _parameters(function, label).items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise OptionError(
                f"The tool {label!r} takes {parameter}; a model can only be told parameters with names. "
                "Write them out, or wrap the function."
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise OptionError(
                f"The parameter {name!r} of the tool {label!r} has no name for callers. Take the / away."
            )
        if name not in hints:
            raise OptionError(
                f"The parameter {name!r} of the tool {label!r} has no type hint. Write for instance "
                f"{name}: str"
            )
        try:
            schema = schema_of(hints[name])
        except UnknownHintError as e:
            raise OptionError(
                f"The parameter {name!r} of the tool {label!r} cannot be told to a model: {e}. Use {KNOWN}."
            ) from e
        if name in said and "description" not in schema:
            schema["description"] = said[name]
        found[name] = (schema, parameter.default)
    return found


def _parameters(function: Callable[..., Any], label: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as e:
        raise OptionError(
            f"The tool {label!r} has no signature that can be read. Wrap it in a function with type hints."
        ) from e


_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?|Attributes):\s*"
)
_PARAMETER = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and those of the parameters from the section ``Args:``."""
    said: list[str] = []
    found: dict[str, str] = {}
    section, name, margin = "", "", None
    for line in inspect.cleandoc(text).splitlines():
        bare = line.strip()
        heading = _SECTION.fullmatch(line)
        if heading:
            section, name, margin = heading[1], "", None
        elif not section:
            said.append(line)
        elif section in ("Args", "Arguments", "Parameters") and bare:
            indent = len(line) - len(line.lstrip())
            margin = indent if margin is None else margin
            match = _PARAMETER.match(bare)
            if indent <= margin and match:
                name = match[1]
                found[name] = match[2].strip()
            elif name:
                found[name] = f"{found[name]} {bare}".strip()
    return "\n".join(said).strip(), found


def arguments_of(found: FunctionTool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as the function takes them.

    Raises:
        ArgumentError: they are not what its schema says.
    """
    import jsonschema

    schema = dict(found.tool.parameters)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(dict(arguments)))
    if fault is not None:
        place = f" at {fault.json_path}" if fault.path else ""
        raise ArgumentError(f"The arguments are not valid{place}: {fault.message:.300}")
    return {name: _argument(found.hints[name], name, value) for name, value in arguments.items()}


def _argument(hint: Any, name: str, value: Any) -> Any:
    try:
        return value_of(hint, value)
    except (ValueError, TypeError, KeyError, ArithmeticError) as e:
        raise ArgumentError(f"The argument {name!r} is not valid: {e}") from e


# Results.


def result_text(value: Any) -> str:
    """What a function returned as the text that a model gets: a text as it is, else JSON.

    Tables have 50 rows at most and a text 8,000 characters, with a note of what was left out.
    """
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}… (cut: the result has {len(text):,} characters)"


def plain(value: Any) -> Any:
    """A result as JSON values."""
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return _of_library(value)


def _of_library(value: Any) -> Any:
    """Values of pandas, NumPy and pydantic, by what they can do; of others their text."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return plain(dump(mode="json"))
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        shown = value.head(MOST_ROWS)
        rows = plain(shown.to_dict("records"))
        if len(value) <= MOST_ROWS:
            return rows
        return {"rows": rows, "note": f"the first {MOST_ROWS} of {len(value):,} rows"}
    if hasattr(value, "index") and hasattr(value, "to_dict"):
        return plain(value.head(MOST_ROWS).to_dict())
    for make in ("tolist", "item"):
        method = getattr(value, make, None)
        if callable(method):
            made = method()
            return plain(made) if not hasattr(made, make) else str(made)
    return str(value)


def told_tools(given: Sequence[FunctionTool]) -> tuple[Mapping[str, Any], ...]:
    """The tools as a prompt's content keeps them: what the model is told of each."""
    return tuple(
        typing.cast("dict[str, Any]", json.loads(json.dumps(one.tool.as_dict()["function"])))
        for one in given
    )
