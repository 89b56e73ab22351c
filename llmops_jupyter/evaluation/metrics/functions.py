"""Any Python function as a metric."""

from __future__ import annotations

import hashlib
import inspect
import uuid
from collections.abc import Callable
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.metrics.metric import Case, Metric

GIVEN = ("case", "output", "expected", "row", "input", "completion")
# Values of these kinds that a function closes over decide its score, and can be written down.
PLAIN = (str, int, float, bool, bytes, tuple, frozenset, type(None))


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
    if inspect.iscoroutinefunction(f):
        raise OptionError(f"The metric {shown!r} is async. Give a plain function.")
    if bounds is not None and not bounds[0] < bounds[1]:
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


def source_digest(f: Callable[..., Any]) -> str:
    """The hash of a function's source and of the plain values that it holds.

    A function without a source, or one that holds other values, has one that never comes again, so that
    nothing that was recorded of it is used again.
    """
    try:
        parts = [inspect.getsource(f)]
    except (OSError, TypeError):
        return uuid.uuid4().hex
    cells = [c.cell_contents for c in getattr(f, "__closure__", None) or ()]
    held = [*cells, *(getattr(f, "__defaults__", None) or ())]
    held += list((getattr(f, "__kwdefaults__", None) or {}).values())
    for value in held:
        if not isinstance(value, PLAIN):
            return uuid.uuid4().hex
        parts.append(repr(value))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


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
    found = {}
    for name, needed in parameters.items():
        if name == "case":
            found[name] = case
        elif name in GIVEN:
            found[name] = getattr(case, name)
        elif name in case.row:
            found[name] = case.row[name]
        elif needed:
            raise DataError(
                f"{shown} asks for {name!r}, and the row has no such column. There are "
                f"{', '.join([*GIVEN, *case.row])}."
            )
    return found
