"""What the status bar shows."""

from __future__ import annotations

from typing import Any

from llmops_jupyter.monitor.alerts.states import ALERT, BAD, WARNING
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.records import iso

# Spans among which the last call of a model is looked for.
AMONG = 500


def status(handle: Handle) -> dict[str, Any]:
    """Models that workers have loaded, the speed of the last call, and alarms that nobody has silenced."""
    store = handle.workspace.store
    return {
        "models": handle.workers.loaded(),
        "last": _last(store),
        "alerts": _alerts(handle),
    }


def _last(store: Store) -> dict[str, Any] | None:
    """The newest call of a model that has ended, with its rate of writing."""
    row = store.row(
        "SELECT model, start_ns, end_ns, first_token_ns, output_tokens FROM "
        f"(SELECT * FROM spans ORDER BY id DESC LIMIT {AMONG}) "
        "WHERE op = 'chat' AND end_ns IS NOT NULL ORDER BY id DESC LIMIT 1"
    )
    if row is None:
        return None
    began = row["first_token_ns"] or row["start_ns"]
    # The first token is there when the time of the others begins.
    tokens = (row["output_tokens"] or 0) - (row["first_token_ns"] is not None)
    seconds = (row["end_ns"] - began) / 1e9
    return {
        "model": row["model"] or "",
        "tokens_per_s": tokens / seconds if tokens > 0 and seconds > 0 else None,
        "at": iso(row["end_ns"]),
    }


def _alerts(handle: Handle) -> dict[str, int]:
    counts = {WARNING: 0, ALERT: 0}
    marks = ", ".join("?" * len(BAD))
    bad = f"SELECT 1 FROM alert_standings WHERE state IN ({marks}) LIMIT 1"
    if handle.workspace.store.row(bad, BAD) is not None:
        for entry in handle.workspace.monitor.alerts.active():
            counts[entry.standing.state] += 1
    return {"warning": counts[WARNING], "alert": counts[ALERT]}
