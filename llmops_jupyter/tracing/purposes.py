"""What spans are made for: answers to an evaluation are no traffic, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from llmops_jupyter.tracing import names, threads

EVALUATION = "evaluation"
_current: ContextVar[str | None] = ContextVar("llmops_purpose", default=None)
threads.carried.append(_current)


@contextmanager
def purpose(made_for: str) -> Iterator[None]:
    """Have spans that begin meanwhile say what they are made for."""
    token = _current.set(made_for)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str | None:
    """What spans that begin now are made for; None for what they answer itself."""
    return _current.get()


def traffic(s: str = "s") -> str:
    """A condition of SQL: a span of this name was not made for an evaluation.

    Answers that an evaluation keeps are known by their trace too, since they may have been made before or elsewhere.
    """
    return (
        f"""json_extract({s}.attributes, '$."{names.PURPOSE}"') IS NULL """
        f"AND NOT EXISTS (SELECT 1 FROM evaluation_outputs e WHERE e.trace_id = {s}.trace_id)"
    )
