"""A span of another program, as the store will have it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.records import Message
from llmops_jupyter.records.resources import CERTAINTIES
from llmops_jupyter.tracing import names

# Marks of what was imported: in which form it came, from which service and library, and whose child it is where its
# parent has not come.
FORMAT, RESOURCE = "llmops.import.format", "llmops.import.resource"
LIBRARY, PARENT = "llmops.import.library", "llmops.import.parent"
NOT_ENDED = "NotEnded"
OLDEST_NS = 631_152_000 * 10**9  # 1990: what is older is a clock that was never set
AHEAD_NS = 86_400 * 10**9
MOST_TOKENS = 2**53
COLUMNS = (
    *("provider", "model", "model_digest", "prompt_name", "prompt_version", "session", "seed"),
    *("notebook", "cell_id", "execution_count", "kernel_id"),
    *("input_tokens", "output_tokens", "cached_tokens"),
    *("cost", "energy_j", "busy_s", "cpu_s", "peak_bytes", "shared", "energy_source"),
)
WHOLE = (
    *("prompt_version", "seed", "execution_count", "peak_bytes"),
    *("input_tokens", "output_tokens", "cached_tokens"),
)
NUMBERS = ("cost", "energy_j", "busy_s", "cpu_s")


class UnreadableError(ValueError):
    """A record that is no span that can be kept; says why."""


@dataclass(frozen=True)
class ForeignScore:
    """A judgement that came with a span; `span_id` is None where it is of the whole trace."""

    trace_id: str
    span_id: str | None
    name: str
    value: float | None
    label: str | None
    explanation: str
    source: str
    identifier: str
    at: str


@dataclass
class ForeignSpan:
    """A span on its way in; what reads it fills it in piece by piece.

    `end_ns` is None where it had not ended when it was written. `columns` are those of the store, `attributes` what is left.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start_ns: int
    end_ns: int | None
    op: str = "span"
    kind: str = "INTERNAL"
    first_token_ns: int | None = None
    status: str = "ok"
    error_type: str | None = None
    error_message: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    schema_url: str = ""
    scores: list[ForeignScore] = field(default_factory=list)
    only_scores: bool = False

    @property
    def weight(self) -> int:
        """Characters of its texts, roughly."""
        texts = sum(len(m.content) for m in (*self.input, *self.output))
        return 500 + texts + sum(len(v) for v in self.attributes.values() if isinstance(v, str))


def checked(span: ForeignSpan) -> ForeignSpan:
    """The span, if its ids and times can be true; columns that cannot be are left out.

    Raises:
        UnreadableError: they cannot.
    """
    for what, text, size in (("trace", span.trace_id, 32), ("span", span.span_id, 16)):
        if not is_id(text, size):
            raise UnreadableError(f"its {what} id is not {size} hexadecimal digits")
    if span.parent_id is not None and not is_id(span.parent_id, 16):
        raise UnreadableError("its parent's id is not 16 hexadecimal digits")
    if span.parent_id == span.span_id:
        raise UnreadableError("it is its own parent")
    latest = time.time_ns() + AHEAD_NS
    if not OLDEST_NS <= span.start_ns <= latest:
        raise UnreadableError("it began before 1990 or after tomorrow")
    if span.end_ns is not None and not span.start_ns <= span.end_ns <= latest:
        raise UnreadableError("it ended before it began, or after tomorrow")
    first = span.first_token_ns
    if first is not None and not span.start_ns <= first <= (span.end_ns or latest):
        span.first_token_ns = None
    span.columns = {
        k: v for k, given in span.columns.items() if (v := _column(k, given)) is not None
    }
    if span.end_ns is None:
        span.status, span.error_type = "interrupted", NOT_ENDED
        span.error_message = "the span had not ended when it was written"
    return span


def is_id(text: Any, size: int) -> bool:
    """Whether a text is an id of so many hexadecimal digits, not all of them 0."""
    return (
        isinstance(text, str)
        and len(text) == size
        and all(c in "0123456789abcdef" for c in text)
        and text.strip("0") != ""
    )


def _column(name: str, value: Any) -> Any:
    if name == "shared":
        return int(value is True)
    if name == "energy_source":
        return value if value in CERTAINTIES else None
    if name in WHOLE:
        return whole(value)
    if name in NUMBERS:
        found = number(value)
        return found if found is not None and found >= 0 else None
    return value[:2000] if isinstance(value, str) and value else None


def whole(value: Any) -> int | None:
    """A whole number that is not negative, if a value is one."""
    found = number(value)
    return int(found) if found is not None and 0 <= found < MOST_TOKENS else None


def number(value: Any) -> float | None:
    """A finite number, if a value is one or the text of one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def text_of(attributes: Mapping[str, Any], *keys: str) -> str | None:
    """The first of these attributes that is a text."""
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def take_columns(span: ForeignSpan) -> None:
    """Move what has a column of its own out of the attributes."""
    for name, column in names.COLUMN_OF.items():
        if column in COLUMNS and name in span.attributes:
            value = span.attributes.pop(name)
            span.columns.setdefault(column, value)
