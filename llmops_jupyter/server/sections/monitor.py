"""What is watched: rules and alarms, traffic, drift, costs, budgets."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmops_jupyter.errors import OptionError
from llmops_jupyter.monitor.alerts.ledger import iso
from llmops_jupyter.records.resources import weakest
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.tracing.query import parse_when

if TYPE_CHECKING:
    from llmops_jupyter.monitor import Monitor
    from llmops_jupyter.monitor.alerts.board import Entry
    from llmops_jupyter.monitor.alerts.rules import Rule
    from llmops_jupyter.monitor.cost.budget import BudgetState
    from llmops_jupyter.monitor.cost.lines import CostLine

MOST_EVENTS, MOST_REPORTS = 100, 20
_SPACED = re.compile(r"[%\s]")
# The longest time that is looked at, in seconds, and how often what ends now is worked out anew.
LONGEST_S, FRESH_S = 10 * 366 * 86_400, 60


def monitor(handle: Handle, *, since: str) -> dict[str, Any]:
    """How everything stands that is watched; traffic, alarms, reports and costs since a moment."""
    since_ns = parse_when(since) or 0
    now = time.time()
    if not now - LONGEST_S <= since_ns / 1e9 <= now + 1:
        raise OptionError("since lies within the last ten years. Write an age such as 24h or 7d.")
    stage = handle.workspace.monitor
    stamp = (handle.versions.now()["monitor"], int(now // FRESH_S))
    sums: dict[str, Any] = handle.kept(("sums", since), stamp, lambda: _sums(stage, since))
    begin = iso(since_ns)
    return {
        "rules": [_rule(entry) for entry in stage.alerts.board().entries],
        "events": [
            {"at": c.at, "rule": c.rule, "from": c.before, "to": c.state, "words": c.reason}
            for c in stage.alerts.changes(limit=MOST_EVENTS)
            if c.at >= begin
        ],
        **sums,
        "drift": [_report(r) for r in stage.reports(limit=MOST_REPORTS) if r["at"] >= begin],
        "budgets": [one for state in stage.budgets() for one in _budgets(state)],
    }


def _sums(stage: Monitor, since: str) -> dict[str, Any]:
    """What takes a walk over the calls since then."""
    buckets, step = stage.traffic(since)
    return {
        "timeline": [
            {"at": iso(b.at_ns), **{k: v for k, v in vars(b).items() if k != "at_ns"}}
            for b in buckets
        ],
        "bucket_s": step,
        "costs": [_cost(line) for line in stage.costs("prompt", since=since).lines],
    }


def _rule(entry: Entry) -> dict[str, Any]:
    standing, rule = entry.standing, entry.rule
    limits = rule.thresholds()
    said = [rule.words(), *filter(None, [entry.remarks()])]
    return {
        "name": rule.name,
        "state": standing.state,
        "value": standing.value,
        "threshold": limits.get("alert", limits.get("warning")),
        "unit": "%" if rule.measure.rate else rule.measure.unit,
        "traces": _watched(rule),
        "words": "; ".join(said),
        "since": iso(standing.since_ns) if standing.looked_ns else None,
        "silenced_until": None if entry.silence is None else entry.silence.until,
    }


def _watched(rule: Rule) -> str:
    """The place in the traces section that shows what a rule watches; '' where it is no traces.

    Spaces stand between filters, so those of a value are written as in an address.
    """
    if rule.measure.name == "golden":
        return ""
    filters = dict(rule.filters)
    if rule.measure.name == "error_rate":
        filters["status"] = "error"
    return " ".join(f"{key}:{_SPACED.sub(_escaped, value)}" for key, value in filters.items())


def _escaped(sign: re.Match[str]) -> str:
    return quote(sign[0])


def _report(report: dict[str, Any]) -> dict[str, Any]:
    level = report.get("level", 0.05)
    return {
        "id": str(report["id"]),
        "at": report["at"],
        "baseline": report.get("baseline", ""),
        "drifted": bool(report.get("alarm")),
        "words": report.get("summary", ""),
        "features": [
            {
                "name": test["feature"],
                "p_value": test["adjusted"],
                "drifted": test["adjusted"] <= level,
            }
            for test in report.get("tests", ())
        ],
    }


def _cost(line: CostLine) -> dict[str, Any]:
    figures = line.figures
    shown = [figures[name].source for name in ("input", "output", "dollars") if name in figures]
    return {
        "name": line.name,
        "calls": line.calls,
        "input_tokens": int(figures["input"].value) if "input" in figures else 0,
        "output_tokens": int(figures["output"].value) if "output" in figures else 0,
        "cost": figures["dollars"].value if "dollars" in figures else None,
        "source": weakest(shown) if shown else "measured",
    }


def _budgets(state: BudgetState) -> list[dict[str, Any]]:
    budget = state.budget
    return [
        {
            "name": budget.name,
            "unit": unit,
            "used": state.used[unit],
            "limit": limit,
            "per": budget.per,
        }
        for unit, limit in budget.limits.items()
    ]
