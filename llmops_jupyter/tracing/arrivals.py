"""Which spans were made here, and which came from elsewhere, as conditions of SQL."""

from __future__ import annotations

from typing import Any

HERE, ELSEWHERE = "here", "imported"
SERVICE = "llmops.import.service"
# The last id of the range of imported spans that lies at or before a span `s`; ranges do not overlap.
_LAST = "(SELECT i.last FROM span_imports i WHERE i.first <= {s}.id ORDER BY i.first DESC LIMIT 1)"


def imported(s: str) -> str:
    """Whether a span of this name was imported; a look into an index, however much was."""
    return f"(coalesce({_LAST.format(s=s)}, 0) >= {s}.id)"


def came_ns(s: str) -> str:
    """When a span came into the store: its start, or the time of the import that brought it."""
    at = f"(SELECT i.at_ns FROM span_imports i WHERE i.first <= {s}.id ORDER BY i.first DESC LIMIT 1)"
    return f"(CASE WHEN {imported(s)} THEN {at} ELSE {s}.start_ns END)"


def source_of(s: str) -> str:
    """Where a span came from: 'here', or the service that it was imported from; 'imported' where that had no name."""
    return (
        f"(CASE WHEN {imported(s)} THEN coalesce({_service(s)}, '{ELSEWHERE}') ELSE '{HERE}' END)"
    )


def condition(s: str, source: str) -> tuple[str, list[Any]]:
    """Whether a span came from there, with the parameters.

    Args:
        s: name of the span.
        source: 'here', 'imported' for all that was not made here, or a service.
    """
    if source == HERE:
        return f"NOT {imported(s)}", []
    if source == ELSEWHERE:
        return imported(s), []
    return f"({imported(s)} AND {_service(s)} = ?)", [source]


def _service(s: str) -> str:
    return f"""json_extract({s}.attributes, '$."{SERVICE}"')"""
