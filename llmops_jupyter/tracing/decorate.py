"""`@lo.trace`: a span for each call of a function, whatever kind of function it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.spans import Span, Tracer

MAX_ITEMS = 1000


def trace_calls(
    function: Callable[..., Any], tracer: Callable[[], Tracer], name: str | None = None
) -> Callable[..., Any]:
    """Wrap a function, coroutine function, generator or async generator.

    Arguments and result are kept as ``input.value`` and ``output.value``. `tracer` is asked at each
    call, so that the function may be defined before a workspace is open.
    """
    label = name or function.__qualname__

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span:
        attributes = {names.INPUT_VALUE: _arguments(function, args, kwargs)}
        return tracer().span(label, op="function", attributes=attributes)

    if inspect.isasyncgenfunction(function):
        return _async_generator(function, begin)
    if inspect.isgeneratorfunction(function):
        return _generator(function, begin)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with begin(args, kwargs) as span:
                result = await function(*args, **kwargs)
                span.attributes[names.OUTPUT_VALUE] = _plain(result)
                return result

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs) as span:
            result = function(*args, **kwargs)
            span.attributes[names.OUTPUT_VALUE] = _plain(result)
            return result

    return call


def _generator(function: Callable[..., Any], begin: Callable[..., Span]) -> Callable[..., Any]:
    @functools.wraps(function)
    def iterate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        span = begin(args, kwargs)
        items: list[Any] = []
        span.attributes[names.OUTPUT_VALUE] = items
        span.__enter__()
        error: BaseException | None = None
        source = function(*args, **kwargs)
        advance: Callable[[], Any] = functools.partial(next, source)
        try:
            while True:
                try:
                    item = advance()
                except StopIteration as stop:
                    return stop.value
                _keep(items, item)
                # The caller's code between two items is not part of this span.
                span.deactivate()
                try:
                    sent = yield item
                    advance = functools.partial(source.send, sent)
                except Exception as thrown:  # noqa: BLE001 - the function decides what it means
                    advance = functools.partial(source.throw, thrown)
                span.activate()
        except GeneratorExit:
            raise  # the caller has enough; that is no fault
        except BaseException as e:
            error = e
            raise
        finally:
            source.close()
            span.deactivate()
            span.finish(error)

    return iterate


def _async_generator(
    function: Callable[..., Any], begin: Callable[..., Span]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        span = begin(args, kwargs)
        items: list[Any] = []
        span.attributes[names.OUTPUT_VALUE] = items
        span.__enter__()
        error: BaseException | None = None
        source = function(*args, **kwargs)
        try:
            async for item in source:
                _keep(items, item)
                span.deactivate()
                yield item
                span.activate()
        except GeneratorExit:
            raise
        except BaseException as e:
            error = e
            raise
        finally:
            await source.aclose()
            span.deactivate()
            span.finish(error)

    return iterate


def _keep(items: list[Any], item: Any) -> None:
    if len(items) < MAX_ITEMS:
        items.append(_plain(item))


def _arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name, without `self`."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return {"args": [_plain(a) for a in args], **{k: _plain(v) for k, v in kwargs.items()}}
    return {k: _plain(v) for k, v in bound.arguments.items() if k not in ("self", "cls")}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it now, since the object may change after the call."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in list(value)[:MAX_ITEMS]]
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    return str(value)
