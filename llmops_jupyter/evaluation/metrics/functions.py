"""Any Python function as a metric."""

from __future__ import annotations

import copy
import hashlib
import inspect
import re
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.metrics.metric import Case, Metric

GIVEN = ("case", "output", "expected", "row", "input", "completion")
# Values of these kinds decide a function's score as they are written.
PLAIN = (str, int, float, complex, bool, bytes, type(None), type(...))


def function(
    f: Callable[..., Any],
    *,
    name: str | None = None,
    bounds: tuple[float, float] | None = None,
    higher_is_better: bool = True,
) -> Metric:
    """A metric that calls a function for each answer.

    Its parameters get, by their names, the `case`, or its `output`, `expected`, `row`, `input`, `completion`, or
    the column of the row that is called so; a single parameter of any other name gets the output. It returns
    a bool, a number, a label, a mapping with value, label and explanation, or None for "does not say".

    Args:
        f: the function; not a coroutine.
        name: of the metric; the function's if left out.
        bounds: least and greatest possible score, where there are some.
        higher_is_better: False for costs.

    Raises:
        OptionError: it cannot be called so.
    """
    shown = str(name or getattr(f, "__name__", type(f).__name__))
    if inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(type(f).__call__):
        raise OptionError(f"The metric {shown!r} is async. Give a plain function.")
    if bounds is not None and not _are_bounds(bounds):
        raise OptionError(f"The bounds of {shown!r} are the least and the greatest score: (0, 1).")
    parameters = _parameters(f, shown)

    def each(case: Case) -> Any:
        if not parameters:  # one parameter without a name, as len has it
            return f(case.output)
        return f(**_arguments(parameters, case, shown))

    return Metric(
        shown,
        each=each,
        digest=f"function\n{source_digest(f)}",
        bounds=bounds,
        higher_is_better=higher_is_better,
        needs_expected="expected" in parameters and parameters["expected"],
    )


def _are_bounds(bounds: Any) -> bool:
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        return False
    return low < high


def source_digest(f: Callable[..., Any]) -> str:
    """The hash of a function's code and of all plain values that it holds or takes from around it.

    Lists, tuples, sets and mappings of plain values are plain, functions count with their own digest. A
    function that holds anything else has a digest that never comes again, so that nothing that was recorded
    of it is used again.
    """
    try:
        return hashlib.sha256("\n".join(_decides(f, set())).encode()).hexdigest()
    except _Unknown:
        return uuid.uuid4().hex


class _Unknown(Exception):  # noqa: N818 - an answer, not a fault
    """A value that cannot be written down."""


def _decides(f: Any, seen: set[int]) -> list[str]:
    """Texts of all that decides what a function returns."""
    code = getattr(f, "__code__", None)
    if code is None:
        return [_held(f, seen)]
    seen.add(id(f))
    owner = getattr(f, "__self__", None)
    if owner is not None:  # a bound method depends on what it is bound to
        return [_held(owner, seen), *_decides(f.__func__, seen)]
    parts = [*_code(code), *(_held(v, seen) for v in getattr(f, "__defaults__", None) or ())]
    named = getattr(f, "__kwdefaults__", None) or {}
    parts += [f"{name}={_held(value, seen)}" for name, value in sorted(named.items())]
    parts += [_held(_inside(cell), seen) for cell in getattr(f, "__closure__", None) or ()]
    around = getattr(f, "__globals__", {})
    for name in sorted(_names(code)):
        if name in around:
            parts.append(f"{name}={_held(around[name], seen)}")
    return parts


def _code(code: Any) -> list[str]:
    """Instructions and constants, those of functions inside too."""
    parts = [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
    for constant in code.co_consts:
        parts += _code(constant) if hasattr(constant, "co_code") else [_held(constant, set())]
    return parts


def _names(code: Any) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            found |= _names(constant)
    return found


def _held(value: Any, seen: set[int]) -> str:
    """A value as text.

    Raises:
        _Unknown: it cannot be written down.
    """
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({','.join(_held(v, seen) for v in value)})"
    if isinstance(value, set | frozenset):
        return f"set({','.join(sorted(_held(v, seen) for v in value))})"
    if isinstance(value, dict):
        return f"dict({','.join(f'{_held(k, seen)}:{_held(v, seen)}' for k, v in value.items())})"
    if isinstance(value, re.Pattern):
        return f"pattern({value.pattern!r}, {value.flags})"
    if isinstance(value, ModuleType):
        if not _is_installed(value):
            raise _Unknown
        return f"module({value.__name__}, {getattr(value, '__version__', '')})"
    if isinstance(value, Metric):
        return f"metric({value.digest})"
    if hasattr(value, "__code__") and not inspect.ismethod(value):
        return "function" if id(value) in seen else f"function({';'.join(_decides(value, seen))})"
    if type(value).__module__.startswith("llmops_jupyter."):
        return _ours(value)
    if inspect.ismethod(value):
        return f"method({';'.join(_decides(value, seen))})"
    if isinstance(value, type):
        if not _is_installed(sys.modules.get(value.__module__)):
            raise _Unknown
        return f"{value.__module__}.{value.__qualname__}"
    if inspect.isbuiltin(value) or inspect.ismethoddescriptor(value):
        owner = getattr(value, "__self__", None)
        of = "" if owner is None or isinstance(owner, ModuleType) else _held(owner, seen)
        return f"{getattr(value, '__module__', '')}.{value.__qualname__}({of})"
    raise _Unknown


def _inside(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty so far
        raise _Unknown from None


def _ours(value: Any) -> str:
    """One of our objects: a version by its content, a workspace or a stage of it by its kind.

    Raises:
        _Unknown: it is another one.
    """
    content = getattr(value, "content_hash", None)
    if isinstance(content, str) and content:
        return f"content({content})"
    if hasattr(value, "store"):
        return f"a {type(value).__qualname__}"
    raise _Unknown


def _is_installed(module: ModuleType | None) -> bool:
    """Whether a module is Python's own or an installed one, and not a file that its user edits."""
    if module is None or module.__name__ == "__main__":
        return False
    if module.__name__.partition(".")[0] in sys.stdlib_module_names:
        return True
    path = getattr(module, "__file__", None) or ""
    return "site-packages" in path or "dist-packages" in path


def _parameters(f: Callable[..., Any], shown: str) -> dict[str, bool]:
    """The names of a function's parameters, and whether each must be given; none for one without a name."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(
        p.kind is inspect.Parameter.POSITIONAL_ONLY and p.default is p.empty for p in found
    ) and not (len(found) == 1):
        raise OptionError(
            f"The metric {shown!r} has parameters without names. Give it parameters called "
            f"{', '.join(GIVEN)}, or as columns are."
        )
    names = {p.name: p.default is p.empty for p in found if p.kind in kinds}
    if not names and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found):
        positional = [p for p in found if p.kind is inspect.Parameter.POSITIONAL_ONLY]
        if not positional:
            raise OptionError(f"The metric {shown!r} takes nothing. Give it a parameter: output")
    return names


def _arguments(parameters: dict[str, bool], case: Case, shown: str) -> dict[str, Any]:
    if len(parameters) == 1:
        (name,) = parameters
        if name not in GIVEN and name not in case.row:
            return {name: case.output}
    found: dict[str, Any] = {}
    for name, needed in parameters.items():
        # Each function gets a row of its own: what it changes there is not for others.
        if name == "case":
            found[name] = replace(case, row=copy.deepcopy(dict(case.row)))
        elif name == "row":
            found[name] = copy.deepcopy(dict(case.row))
        elif name in GIVEN:
            found[name] = getattr(case, name)
        elif name in case.row:
            found[name] = copy.deepcopy(case.row[name])
        elif needed:
            raise DataError(
                f"{shown} asks for {name!r}, and the row has no such column. There are "
                f"{', '.join([*GIVEN, *case.row])}."
            )
    return found
