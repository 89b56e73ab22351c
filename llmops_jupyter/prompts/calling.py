"""One call of a function by a model: checked, asked for, run within its time, traced, told."""

from __future__ import annotations

import contextvars
import inspect
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.replay import record_tool, recorded_tool
from llmops_jupyter.prompts.permission import Allow, Approve, denied
from llmops_jupyter.prompts.tools import ArgumentError, FunctionTool, arguments_of, result_text
from llmops_jupyter.records import ToolCall
from llmops_jupyter.tracing import Span, Tracer, names


@dataclass(frozen=True)
class Outcome:
    """What the model is told of a call; `error` says that it did not succeed, `late` that time was up."""

    result: str
    error: bool = False
    duration_s: float = 0.0
    late: bool = False


class LateError(Exception):
    """A function was still running when the time of the run was up."""


@dataclass(frozen=True)
class Caller:
    """Calls functions for one run.

    `alone` says that a person may be asked; `deadline` is a time of `time.perf_counter`, None for none.
    """

    tracer: Tracer
    engine: Engine
    tools: Mapping[str, FunctionTool]
    approve: Approve
    allow: Allow | None
    alone: bool
    deadline: float | None

    def call(self, call: ToolCall, parent: Span, refused: str = "") -> Outcome:
        """Call a function. What it raises is part of the outcome; an interrupt goes on to the caller.

        `refused` is what the model is told instead, for instance because it goes round in circles.
        """
        found = self.tools.get(call.name)
        attributes: dict[str, Any] = {
            names.TOOL_NAME: call.name,
            "gen_ai.tool.type": "function",
            names.TOOL_CALL_ID: call.id,
            names.TOOL_ARGUMENTS: dict(call.arguments),
        }
        if found is not None and found.tool.description:
            attributes["gen_ai.tool.description"] = found.tool.description
        span = self.tracer.span(
            f"execute_tool {call.name}", op="execute_tool", attributes=attributes
        )
        span.begin(parent)
        error: BaseException | None = None
        try:
            outcome, error = self._outcome(call, found, span, refused)
            span.set(names.TOOL_RESULT, outcome.result)
        except BaseException as e:
            error = e
            raise
        finally:
            span.finish(error)
        return outcome

    def _outcome(
        self, call: ToolCall, found: FunctionTool | None, span: Span, refused: str
    ) -> tuple[Outcome, BaseException | None]:
        kept = recorded_tool(self.engine, call)
        if kept is not None:
            span.timed(kept["duration_s"])
            outcome = Outcome(**kept)
            return outcome, ToolFailedError(outcome.result) if outcome.error else None
        began: float | None = None
        error: BaseException | None = None
        late = False
        try:
            if refused:
                raise ToolFailedError(refused)
            function, arguments = self._checked(call, found, span)
            began = time.perf_counter()
            result = self._result(function, arguments, span)
        except LateError as e:
            result, error, late = f"Error: {e}", e, True
        except (ToolFailedError, ArgumentError) as e:
            result, error = f"Error: {e}", e
        except Exception as e:  # noqa: BLE001 - whatever the function raises, the model is told
            result, error = result_text(f"Error: {type(e).__name__}: {e}"), e
        took = 0.0 if began is None else round(time.perf_counter() - began, 6)
        outcome = Outcome(result, error is not None, took, late)
        record_tool(self.engine, call, vars(outcome))
        return outcome, error

    def _checked(
        self, call: ToolCall, found: FunctionTool | None, span: Span
    ) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The function and its arguments, if the call is valid and may be made."""
        if found is None:
            known = ", ".join(self.tools)
            raise ToolFailedError(f"There is no function {call.name!r}. There are: {known}.")
        arguments = arguments_of(found, call.arguments)
        if found.side_effects:
            why = denied(call, self.approve, self.allow, alone=self.alone)
            if why:
                span.set("llmops.tool.denied", why)
                raise ToolFailedError(f"The call was denied: {why}.")
        return found.function, arguments

    def _result(
        self, function: Callable[..., Any], arguments: Mapping[str, Any], span: Span
    ) -> str:
        span.activate()
        try:
            return result_text(within(function, arguments, self.deadline))
        finally:
            span.deactivate()


class ToolFailedError(Exception):
    """A call that was not made, or that failed when it was recorded."""


def within(
    function: Callable[..., Any], arguments: Mapping[str, Any], deadline: float | None
) -> Any:
    """What a function returns; it is broken off at the deadline.

    A coroutine function runs in a loop of its own. In the main thread a plain function is interrupted as by
    Ctrl-C; elsewhere it can only be seen afterwards that it took too long.

    Raises:
        LateError: the time was up.
    """
    left = None if deadline is None else deadline - time.perf_counter()
    if left is not None and left <= 0:
        raise LateError(_LATE)
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    if inspect.iscoroutinefunction(inspect.unwrap(target)):
        return _in_loop(function, arguments, left)
    main = threading.current_thread() is threading.main_thread()
    if (
        left is None
        or not main
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        return function(**arguments)
    return _interrupted(function, arguments, left)


_LATE = "the time for the whole run was up before the function returned"


def _interrupted(function: Callable[..., Any], arguments: Mapping[str, Any], left: float) -> Any:
    """Run a function in the main thread; a timer interrupts it."""
    guard, state = threading.Lock(), {"running": True, "fired": False}
    main = threading.main_thread().ident

    def fire() -> None:
        with guard:
            if state["running"]:
                state["fired"] = True
                if hasattr(signal, "pthread_kill") and main is not None:
                    signal.pthread_kill(main, signal.SIGINT)
                else:
                    signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(left, fire)
    timer.daemon = True
    timer.start()
    try:
        try:
            return function(**arguments)
        finally:
            timer.cancel()
            with guard:
                state["running"] = False
            time.sleep(0)  # an interrupt that is on its way arrives here
    except KeyboardInterrupt:
        if state["fired"]:
            raise LateError(_LATE) from None
        raise


def _in_loop(function: Callable[..., Any], arguments: Mapping[str, Any], left: float | None) -> Any:
    """Run a coroutine function in a thread with a loop, since this one's may be running already."""
    import asyncio

    found: dict[str, Any] = {}
    context = contextvars.copy_context()
    begun = threading.Event()

    async def work() -> Any:
        found["loop"], found["task"] = asyncio.get_running_loop(), asyncio.current_task()
        begun.set()
        return await asyncio.wait_for(function(**arguments), left)

    def run() -> None:
        try:
            found["result"] = context.run(asyncio.run, work())
        except BaseException as e:  # noqa: BLE001 - raised on in the thread that waits
            found["error"] = e
        finally:
            begun.set()

    thread = threading.Thread(target=run, name="llmops-tool", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.05)
    except KeyboardInterrupt:
        if begun.wait(0.1) and thread.is_alive():
            found["loop"].call_soon_threadsafe(found["task"].cancel)
        raise
    if "error" not in found:
        return found["result"]
    error = found["error"]
    if left is not None and isinstance(error, asyncio.TimeoutError | TimeoutError):
        raise LateError(_LATE) from None
    raise error
