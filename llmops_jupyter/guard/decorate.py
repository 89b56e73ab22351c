"""`@lo.guard`: a policy around any function. Its texts are checked as input, what it returns as output."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
)
from contextlib import contextmanager
from typing import Any

from llmops_jupyter.errors import GuardError, OptionError
from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.guardspan import guarded
from llmops_jupyter.guard.kept import PolicyVersion
from llmops_jupyter.guard.report import Report
from llmops_jupyter.guard.running import Pipeline, is_unsaid
from llmops_jupyter.guard.walking import Path, Walk
from llmops_jupyter.records import Place
from llmops_jupyter.tracing import Tracer

RAISE, MESSAGE = "raise", "message"
Guarding = Callable[[], tuple[Pipeline, Tracer]]
# Of a field that says the same in more pieces than these, such as an id, one is checked.
MOST_SAME = 8


class NotGuardedWarning(UserWarning):
    """Something about a call could not be checked."""


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
        function: whose texts are checked: those of its arguments and of what it returns, also within lists, mappings and
            records. Pieces that it yields, or that an iterator gives that it returns, are checked as one text at their end,
            and come then, where the policy may change or deny them.
        guarding: the policy and the tracer, asked at each call.
        on_deny: 'raise' a GuardError, or return (yield) the policy's 'message'.

    Raises:
        OptionError: `on_deny` is something else, or `function` is none.
    """
    check_on_deny(on_deny)
    if isinstance(function, staticmethod | classmethod):
        return type(function)(guard_calls(function.__func__, guarding, on_deny))
    if inspect.isclass(function):
        raise OptionError(
            f"lo.guard goes around functions, and {function.__qualname__} is a class. Write it above its methods."
        )
    if not callable(function):
        raise OptionError(
            f"lo.guard goes around functions, not around {type(function).__name__}. Write it above a def."
        )
    make = functools.partial(_Call, _Guarded(function), guarding, on_deny)
    return _WRAPPERS[_kind(function)](function, make)


def check_policy(policy: Any) -> None:
    """Raise an OptionError unless it is a policy's reference, as where parentheses were forgotten."""
    if not isinstance(policy, str | PolicyVersion):
        raise OptionError(
            f"lo.guard takes the name of a policy, not {type(policy).__name__}. Write "
            '@lo.guard("standard") above the function.'
        )


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


class _Guarded:
    """A guarded function, and of what it has warned already."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__qualname__)
        self._warned: set[str] = set()
        try:
            first = next(iter(inspect.signature(function).parameters), "")
        except (TypeError, ValueError):  # of what is written in C
            first = ""
        self.is_method = first in ("self", "cls")

    def warn(self, key: str, text: str) -> None:
        """A warning, once."""
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(text, NotGuardedWarning, stacklevel=2)


class _Call:
    """One call of a guarded function."""

    def __init__(self, function: _Guarded, guarding: Guarding, on_deny: str) -> None:
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
        first = args[: 1 if self.function.is_method else 0]
        left, named = self._value((args[len(first) :], kwargs), "input")
        return (*first, *left), named

    def result(self, value: Any) -> Any:
        """What the function returned, checked; what is yet to come of it is checked when it comes."""
        if self.pipeline.looks_at("output"):
            if inspect.isawaitable(value):
                return self._awaited(value)
            if isinstance(value, AsyncIterator):
                return self.later_pieces(value)
            if isinstance(value, Iterator) and not hasattr(value, "read"):
                return self.pieces(value)
        return self._value(value, "output")

    async def _awaited(self, value: Awaitable[Any]) -> Any:
        try:
            return self.result(await value)
        except _Denied as denied:
            return denied.message

    def pieces(self, source: Iterator[Any]) -> Generator[Any, Any, Any]:
        """The pieces of an iterator, checked at its end, before they are shown where they may be changed."""
        items: list[Any] = []
        try:
            if self.holds_back:
                with _closed(source):
                    result = _drained(source, items)
                yield from self._joined(items)
            else:
                try:
                    result = yield from _kept(source, items)
                finally:  # also where it is left before its end
                    self._joined(items)
            return self._value(result, "output")
        except _Denied as denied:
            yield denied.message
            return None

    async def later_pieces(self, source: AsyncIterator[Any]) -> AsyncGenerator[Any, Any]:
        """The same of an async iterator."""
        items: list[Any] = []
        close = getattr(source, "aclose", None)
        try:
            try:
                async for item in source:
                    items.append(item)
                    if not self.holds_back:
                        yield item
            finally:
                if callable(close):
                    await close()
                if not self.holds_back:  # also where it is left before its end
                    self._joined(items)
            if self.holds_back:
                for item in self._joined(items):
                    yield item
        except _Denied as denied:
            yield denied.message

    def _value(self, value: Any, place: Place) -> Any:
        """A value with its texts checked, each by itself."""
        if not self.pipeline.looks_at(place):
            return value
        texts: list[str] = []
        self._look(value, place, lambda _, text: texts.append(text))
        if not texts:
            return value
        changed = iter([report.text for report in self.checked(texts, place)])
        return Walk(lambda _, _text: next(changed)).of(value)

    def _joined(self, items: list[Any]) -> list[Any]:
        """What came in pieces: the texts that stand at the same place of each piece, checked as one.

        If that changed them, the first piece has all that is left.
        """
        if not self.pipeline.looks_at("output"):
            return items
        found: dict[Path, list[str]] = {}
        for item in items:
            self._look(item, "output", lambda p, text: found.setdefault(p, []).append(text))
        if not found:
            return items
        same = {p for p, some in found.items() if len(some) > MOST_SAME and len(set(some)) == 1}
        texts = [some[0] if p in same else "".join(some) for p, some in found.items()]
        left = [report.text for report in self.checked(texts, "output")]
        if left == texts:
            return items
        rest = dict(zip(found, left, strict=True))
        unchanged = {p for p, text in zip(found, texts, strict=True) if rest[p] == text}

        def change(path: Path, text: str) -> str:
            if path in unchanged:
                return text
            return rest[path] if path in same else rest.pop(path, "")

        made = [Walk(change).of(item) for item in items]
        return [m for m, item in zip(made, items, strict=True) if m != "" or item == ""]

    def _look(self, value: Any, place: Place, take: Callable[[Path, str], Any]) -> None:
        """Give `take` each text in a value, and warn where there is none in what could not be looked into."""
        found = False

        def look(path: Path, text: str) -> str:
            nonlocal found
            found = True
            take(path, text)
            return text

        walk = Walk(look)
        walk.of(value)
        if walk.opaque and not found:
            kinds = ", ".join(dict.fromkeys(walk.opaque))
            self.function.warn(
                place,
                f"Nothing of the {place} of {self.function.name} was checked by the guard policy {self.pipeline.ref}: it "
                f"finds no text in {kinds}. Give or return texts, or check them yourself: ws.guard.check(text, policy).",
            )

    def checked(self, texts: list[str], place: Place) -> list[Report]:
        # What judges a message as a whole is asked of the first text.
        parts = range(1, len(texts))
        reports = guarded(self.pipeline, texts, place, About(place=place), self.tracer, parts=parts)
        for verdict in (v for report in reports for v in report.verdicts if is_unsaid(v)):
            self.function.warn(
                verdict.check,
                f"The check {verdict.check} of {self.pipeline.ref} said nothing of the {place} of {self.function.name}: "
                f"{verdict.reason}. With on_error: deny such a text is denied.",
            )
        denied = next((r for r in reports if not r.allowed), None)
        if denied is None:
            return reports
        if self.on_deny == MESSAGE:
            raise _Denied(denied.text)
        verdict = denied.verdicts[-1]
        error = GuardError(
            f"The policy {self.pipeline.ref} denied the {place} of {self.function.name}: {verdict.check}, {verdict.reason}. "
            "Change the text, or the policy (%guard show)."
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
        except _Denied as denied:
            yield denied.message
            return None
        return (yield from one.pieces(function(*args, **kwargs)))

    return iterate


def _async_generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    @functools.wraps(function)
    async def iterate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        one = make()
        try:
            args, kwargs = one.arguments(args, kwargs)
        except _Denied as denied:
            yield denied.message
            return
        pieces = one.later_pieces(function(*args, **kwargs))
        try:
            async for item in pieces:
                yield item
        finally:
            await pieces.aclose()

    return iterate


def _drained(source: Any, items: list[Any]) -> Any:
    """Take all items; what a generator returns at its end."""

    def taking() -> Generator[Any, Any, None]:
        ended.append((yield from source))

    ended: list[Any] = []
    items += taking()
    return ended[0]


def _kept(source: Iterator[Any], items: list[Any]) -> Generator[Any, Any, Any]:
    """The same iterator, what it is sent and all; its items are kept beside."""
    sent = None
    send = getattr(source, "send", None)
    with _closed(source):
        while True:
            try:
                item = send(sent) if sent is not None and send is not None else next(source)
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


_WRAPPERS = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}
