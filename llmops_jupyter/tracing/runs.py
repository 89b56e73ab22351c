"""Runs of prompts wherever they stand, as conditions of SQL: a trace may be of a function in which prompts run."""

from __future__ import annotations

from llmops_jupyter.tracing.search import WORKFLOW

RUN = WORKFLOW
# What stands at the run of a prompt, and not at a function around it.
OF_RUNS = ("prompt", "model", "session")
# Only few spans have to be asked.
_INSIDE = (
    "EXISTS (WITH RECURSIVE up(span) AS (SELECT {s}.parent_id UNION SELECT o.parent_id FROM up JOIN spans o "
    "ON o.trace_id = {s}.trace_id AND o.span_id = up.span WHERE o.parent_id IS NOT NULL) "
    "SELECT 1 FROM up JOIN spans a ON a.trace_id = {s}.trace_id AND a.span_id = up.span "
    "WHERE {which} AND {fits})"
)


def inner(s: str = "s") -> str:
    """Whether a span of this name is the run of a prompt within something else; an index has these alone (see m031)."""
    return f"{s}.parent_id IS NOT NULL AND {s}.op = '{RUN}'"


def inside(fits: str, s: str = "s", *, traces: bool = True) -> str:
    """Whether a span of this name stands within a run that fits.

    Args:
        fits: a condition on a span ``a``.
        s: the span's name.
        traces: or within a trace whose root fits, whatever that is.
    """
    which = f"(a.op = '{RUN}' OR a.parent_id IS NULL)" if traces else f"a.op = '{RUN}'"
    return _INSIDE.format(s=s, which=which, fits=fits)
