"""Times as people read them: by the clock of this place."""

from __future__ import annotations

from datetime import datetime


def local(ns: int) -> str:
    """A time by the clock of this place: the minute, with the date unless it is today.

    Args:
        ns: nanoseconds since 1970.
    """
    moment = datetime.fromtimestamp(ns / 1e9).astimezone()
    today = datetime.now().astimezone().date() == moment.date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
