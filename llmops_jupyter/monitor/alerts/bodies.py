"""What is told of a rule: why it changed, and the body that a channel gets."""

from __future__ import annotations

from typing import Any

from llmops_jupyter.monitor.alerts import ledger
from llmops_jupyter.monitor.alerts.readings import Reading
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.alerts.states import UNKNOWN, Standing


def reason_of(rule: Rule, reading: Reading) -> str:
    """Why a rule is where it is, for its history."""
    if reading.note and (rule.measure.own or reading.value is None):
        return reading.note
    said = f"{rule.metric} {rule.measure.text(reading.value)}"
    return f"{said}; {reading.note}" if reading.note else said


def body_of(
    rule: Rule, before: Standing, standing: Standing, reading: Reading, kind: str
) -> dict[str, Any]:
    """What a channel gets: figures, names and ids; no texts of traces."""
    was = f" (was {before.state})" if kind in ("over", UNKNOWN) else ""
    state = "has no data" if kind == UNKNOWN else f"is {standing.state}"
    value = (
        "" if reading.value is None else f": {rule.metric} is {rule.measure.text(reading.value)}"
    )
    return {
        "rule": rule.name,
        "kind": kind,
        "state": standing.state,
        "before": before.state,
        "severity": rule.severity,
        "message": f"{rule.name} {state}{was}{value}",
        "at": ledger.iso(standing.looked_ns or standing.since_ns),
        "since": ledger.iso(standing.since_ns),
        "metric": rule.metric,
        "value": reading.value,
        "interval": None if reading.low is None else [reading.low, reading.high],
        "n": reading.n,
        "warn": rule.warn,
        "alert": rule.alert,
        "direction": rule.direction,
        "window": rule.window.text,
        "filters": dict(rule.filters),
        "false_alarms": rule.promise(),
        # What drifted is told in words of the texts, which stay here.
        "reason": "" if rule.measure.name == "drift" else reading.note,
        "note": rule.note,
        "traces": list(reading.traces),
    }
