"""Traces, what to filter them by, their scores, and data sets that they are collected in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.workspace import Workspace


def page(handle: Handle, *, cursor: str | None, limit: int, **asked: Any) -> dict[str, Any]:
    """A page of summaries, newest first."""
    filters = {
        "notebook_part" if name == "notebook" else name: value
        for name, value in asked.items()
        if name != "q" and value
    }
    found = handle.workspace.traces.page(
        after=cursor or None, limit=limit, text=(asked.get("q") or "").strip(), **filters
    )
    return {"items": [vars(trace) for trace in found.traces], "next": found.next}


def trace(handle: Handle, trace_id: str) -> dict[str, Any]:
    """A whole trace, as the renderer shows it."""
    return handle.workspace.traces.get(trace_id).as_dict()


def facets(handle: Handle) -> dict[str, Any]:
    """Values to filter by, counted among the newest traces, and how many traces there are."""
    found = handle.kept("facets", handle.versions.now()["traces"], handle.workspace.traces.facets)
    return {
        **{name: _listed(counted) for name, counted in vars(found).items()},
        "total": handle.roots.total(),
    }


def score(
    workspace: Workspace, trace_id: str, *, name: str, value: Any, explanation: str
) -> dict[str, Any]:
    """Keep what a person says of a trace."""
    if "=" in name or not name.strip():
        raise OptionError(f"{name!r} cannot be the name of a score: use words without '='.")
    made = workspace.traces.score(trace_id, name.strip(), value, explanation=explanation)
    return dict(vars(made))


def datasets(handle: Handle) -> dict[str, Any]:
    """The data sets, each with its highest version."""
    items = [
        {"name": d.name, "version": d.version, "rows": d.n_rows, "saved_at": d.created_at}
        for d in handle.workspace.data.list()
    ]
    return {"items": items, "next": None}


def collect(workspace: Workspace, dataset: str, *, traces: Sequence[str]) -> dict[str, Any]:
    """Add traces to a data set."""
    made, added = workspace.collect(dataset, traces)
    return {"name": made.name, "version": made.version, "rows": made.n_rows, "added": added}


def _listed(counted: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in counted.items()]
