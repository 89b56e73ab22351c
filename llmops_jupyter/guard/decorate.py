"""`@lo.guard`: a policy around any function. Its texts are checked as input, what it returns as output."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from llmops_jupyter.errors import GuardError, OptionError
from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.guardspan import guarded
from llmops_jupyter.guard.report import Report
from llmops_jupyter.guard.running import Pipeline
from llmops_jupyter.records import Place
from llmops_jupyter.tracing import Tracer

RAISE, MESSAGE = "raise", "message"
Guarding = Callable[[], tuple[Pipeline, Tracer]]


class _Denied(Exception):  # noqa: N818 - it ends a call, and is no fault
    """What is returned in the place of a result."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def guard_calls(
    function: Callable[..., Any], guarding: Guarding, on_deny: str = RAISE
) -> Callable[..., Any]:
    """Wrap a function, coroutine function, generator or async generator.

    Args:
        function: whose arguments that are texts are checked, and the text that it returns. Pieces that a generator yields
            are checked as one text at its end, and come then, where the policy may change or deny them.
        guarding: the policy and the tracer, asked at each call.
        on_deny: 'raise' a GuardError, or return (yield) the policy's 'message'.

    Raises:
        OptionError: `on_deny` is something else.
    """
    check_on_deny(on_deny)
    if isinstance(function, staticmethod | classmethod):
        return type(function)(guard_calls(function.__func__, guarding, on_deny))
    make = functools.partial(_Call, function, guarding, on_deny)
    kind = _kind(function)
    return _WRAPPERS[kind](function, make)


def check_on_deny(on_deny: str) -> None:
    """Raise an OptionError unless it is one of the two."""
    if on_deny not in (RAISE, MESSAGE):
        raise OptionError(f"on_deny is 'raise' or 'message', not {on_deny!r:.60}.")


def _kind(function: Callable[..., Any]) -> str:
    inside = getattr(type(function), "__call__", None)  # noqa: B004 - of objects that are called
    for name, is_kind in (
        ("async generator", inspect.isasyncgenfunction),
        ("generator", inspect.isgeneratorfunction),
        ("coroutine", inspect.iscoroutinefunction),
    ):
        if is_kind(function) or is_kind(inside):
            return name
    return "function"


class _Call:
    """One call of a guarded function."""

    def __init__(self, function: Callable[..., Any], guarding: Guarding, on_deny: str) -> None:
        self.function = function
        self.pipeline, self.tracer = guarding()
        self.on_deny = on_deny

    @property
    def holds_back(self) -> bool:
        return self.pipeline.policy.holds_back("output")

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with their texts checked, and changed where the policy says so."""
        places: list[int | str] = [i for i, a in enumerate(args) if isinstance(a, str)]
        places += [k for k, v in kwargs.items() if isinstance(v, str)]
        if not places or not self.pipeline.looks_at("input"):
            return args, kwargs
        texts = [args[p] if isinstance(p, int) else kwargs[p] for p in places]
        reports = self.checked(texts, "input")
        changed, named = list(args), dict(kwargs)
        for place, report in zip(places, reports, strict=True):
            if isinstance(place, int):
                changed[place] = report.text
            else:
                named[place] = report.text
        return tuple(changed), named

    def result(self, value: Any) -> Any:
        """What the function returned, checked if it is a text."""
        if not isinstance(value, str) or not self.pipeline.looks_at("output"):
            return value
        return self.checked([value], "output")[0].text

    def pieces(self, items: list[Any]) -> list[Any]:
        """What a generator yielded, its texts checked as one; they are one piece if that changed them."""
        texts = [item for item in items if isinstance(item, str)]
        if not texts or not self.pipeline.looks_at("output"):
            return items
        whole = "".join(texts)
        text = self.checked([whole], "output")[0].text
        if text == whole:
            return items
        others = [item for item in items if not isinstance(item, str)]
        return [text, *others]

    def checked(self, texts: list[str], place: Place) -> list[Report]:
        # What judges a message as a whole is asked of the first text.
        parts = range(1, len(texts))
        reports = guarded(self.pipeline, texts, place, About(place=place), self.tracer, parts=parts)
        denied = next((r for r in reports if not r.allowed), None)
        if denied is None:
            return reports
        if self.on_deny == MESSAGE:
            raise _Denied(denied.text)
        verdict = denied.verdicts[-1]
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        error = GuardError(
            f"The policy {self.pipeline.ref} denied the {place} of {name}: {verdict.check}, {verdict.reason}. Change the "
            "text, or the policy (%guard show)."
        )
        error.verdicts = denied.verdicts
        raise error


Make = Callable[[], _Call]


def _function(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        one = make()
        try:
            args, kwargs = one.arguments(args, kwargs)
            return one.result(function(*args, **kwargs))
        except _Denied as denied:
            return denied.message

    return call


def _coroutine(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        one = make()
        try:
            args, kwargs = one.arguments(args, kwargs)
            return one.result(await function(*args, **kwargs))
        except _Denied as denied:
            return denied.message

    return call


def _generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    @functools.wraps(function)
    def iterate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        one = make()
        try:
            args, kwargs = one.arguments(args, kwargs)
            items: list[Any] = []
            source = function(*args, **kwargs)
            if one.holds_back:
                with _closed(source):
                    items += source
                yield from one.pieces(items)
                return None
            result = yield from _kept(source, items)
            one.pieces(items)
        except _Denied as denied:
            yield denied.message
            return None
        return result

    return iterate


def _kept(source: Generator[Any, Any, Any], items: list[Any]) -> Generator[Any, Any, Any]:
    """The same generator, what it is sent and all; its items are kept beside."""
    sent: Any = None
    with _closed(source):
        while True:
            try:
                item = source.send(sent) if sent is not None else next(source)
            except StopIteration as stop:
                return stop.value
            items.append(item)
            sent = yield item


@contextmanager
def _closed(source: Any) -> Iterator[None]:
    try:
        yield
    finally:
        close = getattr(source, "close", None)
        if callable(close):
            close()


def _async_generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    @functools.wraps(function)
    async def iterate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        one = make()
        try:
            args, kwargs = one.arguments(args, kwargs)
            items: list[Any] = []
            source = function(*args, **kwargs)
            try:
                async for item in source:
                    items.append(item)
                    if not one.holds_back:
                        yield item
            finally:
                await source.aclose()
            left = one.pieces(items)
            if one.holds_back:
                for item in left:
                    yield item
        except _Denied as denied:
            yield denied.message

    return iterate


_WRAPPERS = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}
