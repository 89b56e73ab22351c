"""`%trace` and `llmops traces`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.exchanging import import_, send_
from llmops_jupyter.commands.view import Context, Result, Rows, line
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.tracing import Trace, TraceSummary

__all__ = [
    "export_",
    "filters_of",
    "import_",
    "last_",
    "list_",
    "prune_",
    "record_",
    "replay_",
    "score_",
    "search_",
    "send_",
    "show_",
]
FILTERS = ("prompt", "model", "session", "status", "since", "until", "score", "source")
MB = 1024 * 1024


def filters_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that were given."""
    return {k: values[k] for k in FILTERS if values.get(k) is not None}


def _summaries(found: Sequence[TraceSummary]) -> Result:
    rows = [
        {
            "trace": s.trace_id[:8],
            "when": s.started_at[:19].replace("T", " "),
            "name": s.name,
            "model": s.model,
            "status": s.status,
            "seconds": "" if s.duration_s is None else f"{s.duration_s:.2f}",
            "tokens": "" if s.input_tokens is None else f"{s.input_tokens} → {s.output_tokens}",
            "output": s.preview,
        }
        for s in found
    ]
    return Result(list(found), (Rows(rows),) if rows else ("No traces match.",))


def _one(context: Context, trace_id: str | None) -> Trace:
    traces = context.workspace.traces
    return traces.last() if trace_id in (None, "last") else traces.get(str(trace_id))


def last_(context: Context, values: Mapping[str, Any]) -> Result:
    if values["limit"] is not None:
        return _summaries(context.workspace.traces.newest(values["limit"]))
    return show_(context, {"id": None})


def list_(context: Context, values: Mapping[str, Any]) -> Result:
    traces = context.workspace.traces
    return _summaries(traces.newest(values["limit"] or 20, **filters_of(values)))


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    trace = _one(context, values["id"])
    return Result(trace, (trace,))


def search_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.traces.search(
        " ".join(f'"{w}"' if " " in w else w for w in values["text"]),
        order="relevance" if values["ranked"] else "newest",
        limit=values["limit"] or 20,
        **filters_of(values),
    )
    return _summaries(found)


def score_(context: Context, values: Mapping[str, Any]) -> Result:
    trace = _one(context, values["id"])
    pairs = []
    for text in values["score"]:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise OptionError(f"{text!r} is no score. Write NAME=VALUE, for example thumb=down.")
        pairs.append((name, value))
    for name, value in pairs:
        context.workspace.traces.score(
            trace.trace_id, name, value, explanation=values["note"] or ""
        )
    said = ", ".join(f"{name}={value}" for name, value in pairs)
    return line(f"trace {trace.trace_id[:8]}: {said}")


def export_(context: Context, values: Mapping[str, Any]) -> Result:
    show = context.progress()
    count = context.workspace.traces.export(
        values["path"],
        limit=values["limit"],
        progress=lambda n: show(f"{n:,} traces"),
        **filters_of(values),
    )
    return line(f"{count:,} traces written to {values['path']}", {"traces": count})


def prune_(context: Context, values: Mapping[str, Any]) -> Result:
    limit = values["max_mb"]
    count = context.workspace.traces.prune(
        older_than=values["older_than"],
        max_bytes=None if limit is None else int(limit * MB),
        dry_run=values["dry_run"],
    )
    verb = "would be" if values["dry_run"] else "were"
    return line(f"{count:,} traces {verb} deleted", {"traces": count})


def record_(context: Context, values: Mapping[str, Any]) -> Result:
    engine = context.workspace.engine
    if values["path"] == "off":
        engine.live()
        return line("recording ended")
    return line(f"recording into {engine.record(values['path'])}")


def replay_(context: Context, values: Mapping[str, Any]) -> Result:
    engine = context.workspace.engine
    if values["path"] == "off":
        engine.live()
        return line("the models answer again")
    return line(f"replaying {engine.replay(values['path'])}")
