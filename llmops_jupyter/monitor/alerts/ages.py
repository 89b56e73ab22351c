"""Spans of time and windows, as they are written in rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import DataError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
# Seconds that a span of time may have: from one to ten years.
MOST_S = 10 * 365 * 86_400.0
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_COUNT = re.compile(r"(\d+)\s*traces?")


@dataclass(frozen=True)
class Window:
    """The traces that a look is at: of so many seconds, or the last so many; `text` as it was written."""

    text: str
    seconds: float | None = None
    traces: int | None = None


def read_window(given: Any, at: str) -> Window:
    """A window: ``24h``, ``90m``, ``7d``; or ``200 traces``.

    Raises:
        DataError: it is neither.
    """
    text = str(given).strip()
    count = _COUNT.fullmatch(text)
    if count:
        n = int(count[1])
        if not 1 <= n <= 10_000_000:
            raise DataError(f"{at}: a window has from 1 to 10,000,000 traces, not {n:,}.")
        return Window(f"{n} traces", traces=n)
    if _AGE.fullmatch(text):
        return Window(text, seconds=age(text, "window", at))
    raise DataError(
        f"{at}: a window is a time such as 24h or 7d, or 200 traces, not {given!r:.60}."
    )


def age(given: Any, name: str, at: str = "") -> float:
    """Seconds of a time span such as ``90s``, ``10m``, ``24h``, ``7d``.

    Raises:
        DataError: it is none, or is under a second or over ten years.
    """
    begin = f"{at}: " if at else ""
    found = _AGE.fullmatch(str(given).strip())
    if found is None:
        raise DataError(f"{begin}{name} is a time such as 10m, 6h or 7d, not {given!r:.60}.")
    seconds = float(found[1]) * UNITS[found[2]]
    if not 1 <= seconds <= MOST_S:
        raise DataError(f"{begin}{name} is from 1s to ten years, not {given!r:.60}.")
    return seconds


def spoken(seconds: float) -> str:
    """A time span as it is written in a rule: the largest unit of which it is a whole number."""
    for unit, length in reversed(UNITS.items()):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
