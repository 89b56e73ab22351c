"""What the panel of rules shows: rules, a timeline and traces as JSON values; the same as text, picture and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.monitor.alerts.board import Board, Entry
from llmops_jupyter.monitor.alerts.timelines import Timeline, thinned
from llmops_jupyter.render.clock import local
from llmops_jupyter.render.html import escaped
from llmops_jupyter.render.lengths import beginning

if TYPE_CHECKING:
    from llmops_jupyter.monitor import Monitor
    from llmops_jupyter.monitor.alerts.rules import Rule

# Characters of an answer, and points of a timeline, that are sent to the browser at most.
CUT, MOST_POINTS = 400, 300


def rule_of(entry: Entry) -> dict[str, Any]:
    """A rule with where it stands."""
    rule, standing = entry.rule, entry.standing
    return {
        "name": rule.name,
        "state": standing.state,
        "since": local(standing.since_ns) if standing.looked_ns else "",
        "value": rule.measure.text(standing.value),
        "n": standing.n,
        "looked": local(standing.looked_ns) if standing.looked_ns else "never",
        "watches": beginning(rule.words(), CUT),
        "promise": rule.promise(),
        "note": beginning(rule.note, CUT),
        "remarks": beginning(entry.remarks(), CUT),
        "severity": rule.severity,
        "silenced": entry.silence is not None,
        "acknowledged": entry.acknowledged is not None,
        "error": bool(standing.error),
    }


def timeline_of(rule: Rule, looks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The looks at a rule: moments in milliseconds, values with their interval, states."""
    return {
        "rule": rule.name,
        "metric": rule.metric,
        "unit": "%" if rule.measure.rate else rule.measure.unit,
        "scale": 100 if rule.measure.rate else 1,
        "limits": rule.thresholds(),
        "points": [
            [look["at_ns"] // 1_000_000, *(look[k] for k in ("value", "low", "high", "state"))]
            for look in thinned(looks, MOST_POINTS)
        ],
    }


def traces_of(monitor: Monitor, looks: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The traces of the last look that has some; those that were deleted meanwhile are left out."""
    ids: list[str] = next((look["traces"] for look in reversed(looks) if look["traces"]), [])
    found = []
    for trace_id in ids:
        try:
            trace = monitor.traces.get(trace_id)
        except LLMOpsError:
            continue
        root = trace.root
        found.append(
            {
                "id": trace_id,
                "at": local(root.start_ns),
                "prompt": root.prompt or root.name,
                "status": root.status,
                "took": "" if root.duration_s is None else f"{root.duration_s:.2f} s",
                "error": beginning(root.error_message or "", CUT),
                "text": beginning(trace.text, CUT),
            }
        )
    return found


def bundle_of(monitor: Monitor, board: Board, rule: Rule | None) -> dict[str, str]:
    """The board as a saved notebook keeps it: the table, and the timeline of one rule in what opens below it."""
    found = board._repr_mimebundle_()
    if rule is None:
        return found
    looks = monitor.alerts.looks(rule.name)
    if not any(look["value"] is not None for look in looks):
        return found
    try:
        picture = Timeline(rule, looks).page(f"{rule.name} over its looks")
    except ImportError:  # without matplotlib there is no picture, and all else
        return found
    page = f"<details><summary>{escaped(rule.name)}</summary>{picture}</details>"
    return {**found, "text/html": f"{found['text/html']}{page}"}
