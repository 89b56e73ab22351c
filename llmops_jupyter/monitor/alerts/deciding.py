"""Rules that decide by a test of their own: drift from a baseline, golden sets, spikes.

Each is asked through the stage itself. A test of drift looks at a window once: the windows follow each other, so that its
false alarms are counted by windows and not by looks. A stream against a baseline may be looked at whenever one likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.monitor.alerts.ledger import parse
from llmops_jupyter.monitor.alerts.readings import Reading
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.alerts.states import NO_DATA, S, Standing
from llmops_jupyter.monitor.alerts.windows import Clause, calls_of, nth_newest, roots_of
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.purposes import traffic
from llmops_jupyter.tracing.query import moment_of

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.answering import Tell

SHOWN = 5


def is_new(
    store: Store, rule: Rule, standing: Standing, filters: Mapping[str, Any], now_ns: int
) -> bool:
    """Whether the window that a test would look at is another one than it looked at last."""
    last = standing.looked_ns
    if not 0 < last <= now_ns or standing.state == NO_DATA or standing.error:
        return True
    if rule.window.seconds is not None:
        return now_ns - last >= rule.window.seconds * S
    new = roots_of(filters) & traffic() & Clause("s.start_ns >= ?", (last,))
    row = store.row(f"SELECT count(*) FROM spans s WHERE {new.where}", new.parameters)
    return row is not None and row[0] >= (rule.window.traces or 1)


def decide(
    monitor: Any,
    rule: Rule,
    standing: Standing,
    filters: Mapping[str, Any],
    now_ns: int,
    tell: Tell | None,
) -> Reading | None:
    """What the test of a rule says; None where there is nothing new to look at.

    Raises:
        LLMOpsError: the baseline or the golden set is not there, or cannot be run.
    """
    if rule.measure.name == "golden":
        return _golden(monitor, rule, standing, now_ns, tell)
    try:
        if rule.measure.name == "spike":
            since = _since(monitor.store, rule, filters, now_ns)
            return _spike(monitor, rule, {**filters, "since": since})
        if rule.sure:
            return _stream(monitor, rule)
        if not is_new(monitor.store, rule, standing, filters, now_ns):
            return None
        since = _since(monitor.store, rule, filters, now_ns)
        return _drift(monitor, rule, {**filters, "since": since})
    except DataError as e:  # too few traces, or none
        return Reading(None, enough=False, note=str(e))


def _since(store: Store, rule: Rule, filters: Mapping[str, Any], now_ns: int) -> datetime:
    """When the window of a rule begins."""
    if rule.window.seconds is not None:
        begin = now_ns - int(rule.window.seconds * S)
    else:
        # Spikes are looked for in calls of models, drift in whole traces.
        counted = calls_of(filters) if rule.measure.name == "spike" else roots_of(filters)
        first = nth_newest(store, counted, rule.window.traces or 1)
        row = store.row("SELECT start_ns FROM spans WHERE id = ?", (first,))
        begin = 0 if row is None else int(row[0])
    return moment_of(begin)


def _drift(monitor: Any, rule: Rule, filters: Mapping[str, Any]) -> Reading:
    report = monitor.check(rule.measure.argument, level=rule.level, **filters)
    traces = report.traces(limit=SHOWN) if report.alarm else ()
    return Reading(
        None,
        len(report.window),
        alarm=bool(report.alarm),
        enough=bool(report.alarm or report.can_alarm),
        note=str(report.summary()),
        traces=tuple(str(one.trace_id) for one in traces if hasattr(one, "trace_id")),
    )


def _stream(monitor: Any, rule: Rule) -> Reading:
    """What has come since the baseline, as one stream that this rule alone reads; its alarm stays."""
    stream = monitor.stream(rule.measure.argument, name=f"rule-{rule.name}", level=rule.level)
    stream.update()
    return Reading(None, int(stream.rows), alarm=bool(stream.alarm), note=str(stream.summary()))


def _spike(monitor: Any, rule: Rule, filters: Mapping[str, Any]) -> Reading:
    report = monitor.spikes(**filters)
    series = [one for one in report.series if one.metric == rule.measure.argument]
    going_on = [spike for one in series for spike in one.spikes if not spike.ended]
    if not series:
        said = "; ".join(report.words()) or "no version has calls enough"
        return Reading(None, enough=False, note=said)
    return Reading(
        max((float(spike.ratio) for spike in going_on), default=None),
        sum(one.calls for one in series),
        alarm=bool(going_on),
        note="; ".join(spike.sentence() for spike in going_on) or "no spike goes on",
        traces=tuple(trace for spike in going_on for trace in spike.trace_ids)[:SHOWN],
    )


def _golden(
    monitor: Any, rule: Rule, standing: Standing, now_ns: int, tell: Tell | None
) -> Reading | None:
    golden, name = monitor.golden, rule.measure.argument
    if golden.is_due(name, now_ns):
        made = golden.run(name, tell=tell)
    else:
        made = golden.series(name)[-1]
        unread = standing.error or standing.state == NO_DATA or not standing.looked_ns
        # Somebody else may have run it, by hand or for another rule.
        if not unread and not parse(made.at) > standing.looked_ns:
            return None
    first = made.results[0] if made.results else None
    return Reading(
        first.value if first else None,
        first.n if first else 0,
        first.low if first else None,
        first.high if first else None,
        alarm=made.dropped,
        enough=made.dropped or made.comparable,
        note=made.sentence(),
    )
