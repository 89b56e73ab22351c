"""Runs of prompts within functions."""

from __future__ import annotations

import sqlite3

from llmops_jupyter.store.schema.statements import run


def m031_inner_runs(conn: sqlite3.Connection) -> None:
    """Runs that stand within something else, in the order in which they came, and by their session.

    Baselines and windows of a prompt take them in; without an index all spans would be read to find them. Roots have indexes of
    their own, so only these spans are in this one. Answers of evaluations are looked up by their trace, since they are no traffic.
    """
    inner = "parent_id IS NOT NULL AND op = 'invoke_workflow'"
    run(
        conn,
        f"CREATE INDEX spans_inner_runs ON spans(op, id) WHERE {inner}",
        f"CREATE INDEX spans_inner_by_session ON spans(session) WHERE session IS NOT NULL AND {inner}",
        "CREATE INDEX evaluation_outputs_by_trace ON evaluation_outputs(trace_id)",
    )
