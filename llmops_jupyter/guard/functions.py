"""Functions of a user's own as checks, and what tells one from another."""

from __future__ import annotations

import hashlib
import inspect
import numbers
import re
import secrets
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

from llmops_jupyter.errors import OptionError
from llmops_jupyter.guard.check import About, Check, Finding
from llmops_jupyter.records import Place

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_MOST_DEEP = 12


class FunctionCheck:
    """A user's function as a check."""

    def __init__(
        self, name: str, function: Callable[[str], Any], places: tuple[Place, ...]
    ) -> None:
        self.name = name
        self.places = places
        self._function = function

    def find(self, text: str, about: About) -> Finding:
        """What the function says.

        Raises:
            TypeError: it says something else than yes, no, a score or a `Finding`; the pipeline makes a verdict of it.
        """
        del about
        said = self._function(text)
        if isinstance(said, Finding):
            return said
        reason = f"{self.name} says {said}"
        if getattr(said, "shape", None) == () and callable(getattr(said, "item", None)):
            said = said.item()  # a number or a truth value of NumPy and the like
        if isinstance(said, bool):
            return Finding(None, said, reason)
        if isinstance(said, numbers.Real):
            return Finding(float(said), hit=False, reason=reason)
        if inspect.iscoroutine(said):
            said.close()
        kind = type(said)
        home = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        raise TypeError(
            f"it returned {home}{kind.__qualname__}; a check returns True, False, a score or a Finding"
        )


def check_function(name: str, check: Any) -> None:
    """Raise an OptionError unless it can be asked: a function, or a `Check`, that answers at once."""
    asked = getattr(check, "find", None) if hasattr(check, "find") else check
    if not callable(asked) or inspect.isclass(check):
        what = f"the class {check.__name__}" if inspect.isclass(check) else type(check).__name__
        raise OptionError(
            f"The check {name!r} is a function of a text, or an object with find(text, about), not {what}."
        )
    inside = getattr(type(asked), "__call__", None)  # noqa: B004 - of objects that are called
    for kind, is_kind in (
        ("a coroutine function", inspect.iscoroutinefunction),
        ("an async generator", inspect.isasyncgenfunction),
        ("a generator", inspect.isgeneratorfunction),
    ):
        if is_kind(asked) or is_kind(inside):
            raise OptionError(
                f"The check {name!r} is {kind}, and a check answers at once. Give a function that returns True, False, a "
                "score or a Finding."
            )


def identity_of(check: Callable[..., Any] | Check) -> str:
    """What tells a check from another: the same for functions that do the same, as far as that can be seen.

    It is a hash of the function's code, its defaults, and the values, functions and modules that it refers to. A check
    that refers to anything else, or is an object, is like no other.
    """
    digest = hashlib.sha256()
    try:
        _add(digest, check, ())
    except _UnknownError:
        return f"only {secrets.token_hex(16)}"
    return digest.hexdigest()


class _UnknownError(Exception):
    """Something that cannot be told from another."""


def _add(digest: Any, value: Any, inside: tuple[Any, ...]) -> None:
    """Add what a value is to a digest."""
    if any(value is one for one in inside):
        digest.update(b"again")
        return
    if len(inside) > _MOST_DEEP:
        raise _UnknownError
    digest.update(f"({type(value).__qualname__} ".encode())
    if isinstance(value, _PLAIN):
        digest.update(repr(value).encode("utf-8", "backslashreplace"))
    else:
        for part in _parts(value):
            _add(digest, part, (*inside, value))
    digest.update(b")")


def _parts(value: Any) -> Iterable[Any]:
    """What a value consists of, in an order that is always the same."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value)) if all(isinstance(v, _PLAIN) for v in value) else _lost()
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, re.Pattern):
        return value.pattern, int(value.flags)
    if isinstance(value, CodeType):
        return value.co_code, value.co_names, value.co_varnames, value.co_consts
    if isinstance(value, FunctionType):
        return _of_function(value)
    if isinstance(value, ModuleType):
        version = getattr(value, "__version__", None)
        return (value.__name__, version) if _ships(value.__name__) or version else _lost()
    if isinstance(value, type | BuiltinFunctionType) and _ships(value.__module__ or ""):
        return value.__module__, value.__qualname__
    return _lost()


def _of_function(value: FunctionType) -> Iterable[Any]:
    used = {
        n: value.__globals__[n] for n in sorted(_names(value.__code__)) if n in value.__globals__
    }
    try:
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
    except ValueError:  # it is not filled yet
        return _lost()
    return value.__code__, value.__defaults__, value.__kwdefaults__, cells, used


def _names(code: CodeType) -> set[str]:
    """Names that code refers to, that of functions within it too."""
    found = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found |= _names(const)
    return found


def _ships(module: str) -> bool:
    """Whether a module comes with Python."""
    return module.partition(".")[0] in (*sys.builtin_module_names, *sys.stdlib_module_names)


def _lost() -> NoReturn:
    raise _UnknownError
