"""`@lo.trace`: a span for each call of a function, whatever kind of function it is.

The traced work goes on as if it were not traced: what it is given, returns, yields and raises is the
same, and a trace that cannot be written is a warning.
"""

from __future__ import annotations

import functools
import inspect
import sqlite3
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from typing import Any

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.spans import Span, TraceNotSavedWarning, current_span
from llmops_jupyter.tracing.tracer import Tracer
from llmops_jupyter.tracing.values import plain

MAX_ITEMS = 1000


class Call:
    """The span of one call; without one if it could not be opened.

    A function that runs without a pause is called inside a `with` statement.
    """

    def __init__(self, open_span: Callable[[], Span], label: str) -> None:
        self.items: list[Any] = []
        self._result: Any = None
        self._span: Span | None = None
        try:
            self._span = open_span().begin(current_span())
        except (LLMOpsError, sqlite3.Error) as e:
            warnings.warn(
                f"The call of {label} is not traced: {e}", TraceNotSavedWarning, stacklevel=4
            )

    def __enter__(self) -> Call:
        self.resume()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.end(self._result, error)

    def returned(self, result: Any) -> Any:
        """What the function has returned, on its way to the caller."""
        self._result = result
        return result

    def resume(self) -> None:
        """The function runs from here on."""
        if self._span is not None:
            self._span.activate()

    def pause(self) -> None:
        """The caller runs from here on; what it does is not part of this span."""
        if self._span is not None:
            self._span.deactivate()

    def keep(self, item: Any) -> None:
        """One thing that a generator has yielded."""
        if len(self.items) < MAX_ITEMS:
            self.items.append(plain(item))

    def end(self, output: Any, error: BaseException | None = None) -> None:
        """Write what came of it."""
        self.pause()
        if self._span is not None:
            if error is None or output:
                self._span.attributes[names.OUTPUT_VALUE] = plain(output)
            self._span.finish(error)


def trace_calls(
    function: Callable[..., Any], tracer: Callable[[], Tracer], name: str | None = None
) -> Callable[..., Any]:
    """Wrap a function, coroutine function, generator, async generator or other callable.

    Arguments and result are kept as ``input.value`` and ``output.value``. `tracer` is asked at each
    call, so that the function may be defined before a workspace is open.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(trace_calls(function.__func__, tracer, name))
    label = name or _name_of(function)
    signature = _signature(function)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        def open_span() -> Span:
            attributes = {names.INPUT_VALUE: _arguments(signature, args, kwargs)}
            return tracer().span(label, op="function", attributes=attributes)

        return Call(open_span, label)

    if _is(inspect.isasyncgenfunction, function):
        return _async_generator(function, begin)
    if _is(inspect.isgeneratorfunction, function):
        return _generator(function, begin)
    if _is(inspect.iscoroutinefunction, function):
        return _coroutine(function, begin)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs) as span:
            return span.returned(function(*args, **kwargs))

    return call


def _coroutine(function: Callable[..., Any], begin: Callable[..., Call]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs) as span:
            return span.returned(await function(*args, **kwargs))

    return call


def _generator(function: Callable[..., Any], begin: Callable[..., Call]) -> Callable[..., Any]:
    @functools.wraps(function)
    def iterate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        source = function(*args, **kwargs)
        span = begin(args, kwargs)
        error: BaseException | None = None
        advance: Callable[[], Any] = functools.partial(next, source)
        try:
            while True:
                span.resume()
                try:
                    item = advance()
                except StopIteration as stop:
                    return stop.value
                span.keep(item)
                span.pause()
                try:
                    advance = functools.partial(source.send, (yield item))
                except GeneratorExit:
                    source.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - the function decides what it means
                    advance = functools.partial(source.throw, thrown)
        except GeneratorExit:
            raise  # the caller has enough; that is no fault
        except BaseException as e:
            error = e
            raise
        finally:
            span.end(span.items, error)

    return iterate


def _async_generator(
    function: Callable[..., Any], begin: Callable[..., Call]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def iterate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        source = function(*args, **kwargs)
        span = begin(args, kwargs)
        error: BaseException | None = None
        advance: Callable[[], Any] = source.__anext__
        try:
            while True:
                span.resume()
                try:
                    item = await advance()
                except StopAsyncIteration:
                    return
                span.keep(item)
                span.pause()
                try:
                    advance = functools.partial(source.asend, (yield item))
                except GeneratorExit:
                    await source.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - the function decides what it means
                    advance = functools.partial(source.athrow, thrown)
        except GeneratorExit:
            raise
        except BaseException as e:
            error = e
            raise
        finally:
            span.end(span.items, error)

    return iterate


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _is(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Whether a function, or the `__call__` of another callable, is of a kind."""
    return kind(function) or kind(getattr(type(function), "__call__", None))  # noqa: B004


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """None for what has none that can be read, such as some functions written in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _arguments(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Arguments by name, without `self`."""
    bound: dict[str, Any] = {"args": list(args), **kwargs}
    if signature is not None:
        with suppress(TypeError):  # the call will fail as well, and say so
            bound = signature.bind(*args, **kwargs).arguments
    return plain({k: v for k, v in bound.items() if k not in ("self", "cls")})
