"""Whether the call of a function with side effects may go on: who calls says so, or a person is asked."""

from __future__ import annotations

import builtins
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, Literal, get_args

from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import ToolCall
from llmops_jupyter.render.calls import call_text

Approve = Literal["ask", "always", "never"]
APPROVE = get_args(Approve)
Allow = Callable[[ToolCall], bool]
NOBODY = "nobody can be asked here"


def check_approve(given: Any, allow: Any) -> Approve:
    """The checked setting; raises an OptionError."""
    if allow is not None and not callable(allow):
        raise OptionError(f"allow is a function that gets a call, not {allow!r:.80}.")
    if given is None:
        return "ask"
    if given not in APPROVE:
        raise OptionError(f"approve is one of {', '.join(APPROVE)}, not {given!r:.80}.")
    found: Approve = given
    return found


def denied(call: ToolCall, approve: Approve, allow: Allow | None, *, alone: bool) -> str:
    """Why a call with side effects may not go on; empty if it may.

    `alone` says that a person may be asked: a map has many rows and asks nobody.
    """
    if allow is not None:
        return "" if allow(call) else "it was not allowed"
    if approve == "always":
        return ""
    if approve == "never":
        return "functions with side effects are not allowed"
    answer = (
        ask(f"The model wants to call {call_text(call.name, call.arguments)}") if alone else None
    )
    if answer is None:
        return NOBODY
    return "" if answer else "the user said no"


def ask(question: str) -> bool | None:
    """What a person says, yes or no; None where there is nobody to ask.

    A Jupyter kernel replaces `input` and refuses it where no front end takes questions.
    """
    asking = builtins.input
    if threading.current_thread() is not threading.main_thread():
        return None
    if isinstance(asking, types.BuiltinFunctionType) and not _terminal():
        return None
    try:
        answer = asking(f"{question}. Allow it? [y/N] ")
    except (EOFError, OSError, NotImplementedError, RuntimeError):
        return None
    return answer.strip().lower() in ("y", "yes")


def _terminal() -> bool:
    try:
        return bool(sys.stdin is not None and sys.stdin.isatty())
    except (OSError, ValueError):
        return False
