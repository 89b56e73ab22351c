"""Carry the current span into threads.

Tasks of asyncio copy their context by themselves; threads do not (before Python 3.14 they never do).
From the first span on, a new thread and a task given to a `ThreadPoolExecutor` take along the
variables listed in `carried`, and nothing else.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

carried: list[ContextVar[Any]] = []
_lock = threading.Lock()
_following = False


def _bound(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run with the carried variables as they are now."""
    values = [(variable, variable.get()) for variable in carried]

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        tokens = [(variable, variable.set(value)) for variable, value in values]
        try:
            return function(*args, **kwargs)
        finally:
            for variable, token in tokens:
                variable.reset(token)

    return run


def follow() -> None:
    """Begin to carry; a second call does nothing."""
    global _following  # noqa: PLW0603 - the patch is made once a process
    with _lock:
        if _following:
            return
        _following = True
    submit: Any = ThreadPoolExecutor.submit
    start: Any = threading.Thread.start

    @functools.wraps(submit)
    def carrying_submit(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        future: Future[Any] = submit(self, _bound(fn), *args, **kwargs)
        return future

    @functools.wraps(start)
    def carrying_start(self: threading.Thread) -> None:
        if any(variable.get() is not None for variable in carried):
            self.run = _bound(self.run)  # type: ignore[method-assign]
        start(self)

    setattr(ThreadPoolExecutor, "submit", carrying_submit)  # noqa: B010 - a patch, said plainly
    setattr(threading.Thread, "start", carrying_start)  # noqa: B010
