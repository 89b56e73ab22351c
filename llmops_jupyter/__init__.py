"""LLM operations inside the notebook: versioned, traced prompts on local models.

Public names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmops_jupyter.errors import LLMOpsError as LLMOpsError
    from llmops_jupyter.prompts.tools import tool as tool
    from llmops_jupyter.records import Completion as Completion
    from llmops_jupyter.records import Message as Message
    from llmops_jupyter.records import Sampling as Sampling
    from llmops_jupyter.records import Table as Table
    from llmops_jupyter.records import Timing as Timing
    from llmops_jupyter.records import Usage as Usage
    from llmops_jupyter.tracing import Span
    from llmops_jupyter.workspace import Workspace as Workspace
    from llmops_jupyter.workspace import open_workspace as open  # noqa: A004

    def guard(policy: str, *, on_deny: str = "raise") -> Callable[..., Any]: ...  # see `_Guard`


__version__ = "0.1.0"

_LAZY = {
    "open": ("llmops_jupyter.workspace", "open_workspace"),
    "Workspace": ("llmops_jupyter.workspace", "Workspace"),
    "LLMOpsError": ("llmops_jupyter.errors", "LLMOpsError"),
    "Completion": ("llmops_jupyter.records", "Completion"),
    "Message": ("llmops_jupyter.records", "Message"),
    "Sampling": ("llmops_jupyter.records", "Sampling"),
    "Table": ("llmops_jupyter.records", "Table"),
    "Timing": ("llmops_jupyter.records", "Timing"),
    "Usage": ("llmops_jupyter.records", "Usage"),
    "tool": ("llmops_jupyter.prompts.tools", "tool"),
}

__all__ = [
    "Completion",
    "LLMOpsError",
    "Message",
    "Sampling",
    "Table",
    "Timing",
    "Usage",
    "Workspace",
    "guard",
    "open",
    "span",
    "tool",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name == "guard":
        return import_module("llmops_jupyter.guard")  # which can be called, see `_Package`
    if name in _LAZY:
        module, attribute = _LAZY[name]
        value = globals()[name] = getattr(import_module(module), attribute)
        return value
    raise AttributeError(f"module 'llmops_jupyter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "guard"})


class _Guard(ModuleType):
    """The room `guard`, which is the decorator of the same name as well."""

    def __call__(self, policy: str, *, on_deny: str = "raise") -> Any:
        """A guard policy around a function: ``@lo.guard("standard")``; sync, async, generator or async generator.

        The texts of its arguments are checked as input, and those of what it returns as output, also within lists,
        mappings and records; what the policy leaves of them takes their place. What it denies raises a `GuardError` with the reason, or with ``on_deny="message"`` gives the
        policy's message. Write it above `@lo.trace`, so that the trace has what the function got.
        """
        from llmops_jupyter.guard.decorate import check_on_deny, check_policy, guard_calls
        from llmops_jupyter.workspace import current_workspace

        check_policy(policy)
        check_on_deny(on_deny)

        def wrap(target: Callable[..., Any]) -> Callable[..., Any]:
            return guard_calls(target, lambda: current_workspace().guard.guarding(policy), on_deny)

        return wrap


class _Package(ModuleType):
    """Importing a room sets it as an attribute here, under the name that the decorator has."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "guard" and isinstance(value, ModuleType):
            value.__class__ = _Guard
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def trace(function: Callable[..., Any] | None = None, *, name: str | None = None) -> Any:
    """Trace each call of a function: sync, async, generator or async generator.

    Use it as ``@lo.trace`` or ``@lo.trace(name="retrieve")``. Arguments and result are kept; calls made
    inside become child spans, also from threads and tasks.
    """
    from llmops_jupyter.tracing import trace_calls
    from llmops_jupyter.workspace import current_workspace

    def wrap(target: Callable[..., Any]) -> Callable[..., Any]:
        return trace_calls(target, lambda: current_workspace().tracer, name)

    return wrap if function is None else wrap(function)


def span(name: str, **attributes: Any) -> Span:
    """A span around a block: ``with lo.span("rank") as s: s.set("n", 3)``."""
    from llmops_jupyter.workspace import current_workspace

    return current_workspace().tracer.span(name, attributes=attributes)


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics; called by ``%load_ext llmops_jupyter``."""
    from llmops_jupyter.magics import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics away; called by ``%unload_ext llmops_jupyter``."""
    from llmops_jupyter.magics import unload

    unload(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Where a Jupyter server finds the routes of the side panel; nothing of that is loaded before it asks."""
    from llmops_jupyter.server import LLMOpsExtension

    return [{"module": "llmops_jupyter.server", "app": LLMOpsExtension}]
