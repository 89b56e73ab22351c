"""What a look at the traces of a rule comes to: a value with its interval, and which thresholds it is past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.evaluation.statistics import always_valid_p, mean, rate
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.alerts.traffic import Values

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Reading:
    """What one look found.

    Args:
        value: what was measured; None where nothing could be.
        n: values that it rests on.
        low: of the 95 % interval of this look alone; None without one.
        high: of the same.
        past: for 'warning' and 'alert', whether the threshold is passed, surely where the rule asks for that.
        alarm: for what decides by a test of its own.
        enough: whether there is enough data to say anything.
        traces: ids of the worst traces.
        note: what else is to be said.
        full: whether the window is full in which a sure rule gathers evidence, so that another one begins.
    """

    value: float | None
    n: int = 0
    low: float | None = None
    high: float | None = None
    past: Mapping[str, bool] = field(default_factory=dict)
    alarm: bool = False
    enough: bool = True
    traces: tuple[str, ...] = ()
    note: str = ""
    full: bool = False


def past(rule: Rule, value: float, limit: float) -> bool:
    """Whether a value is on the bad side of a limit."""
    return value > limit if rule.direction == "above" else value < limit


def read(rule: Rule, found: Values, epoch_ns: int) -> Reading:
    """What the values of a window come to.

    Args:
        rule: that is looked at.
        found: its values, in the order in which the traces ended.
        epoch_ns: when the window began in which a sure rule gathers evidence.
    """
    measure = rule.measure
    values, ends = found.ordered()
    if measure.kind == "sum":
        return _summed(rule, found, values)
    if len(values) < rule.at_least:
        said = f"{len(values)} of {found.traces} traces have a value; {rule.at_least} are needed"
        return Reading(None, len(values), enough=False, note=said)
    value, interval = _estimate(rule, values)
    flags, full = _plainly(rule, value), False
    if rule.sure:
        evidence = values[ends >= epoch_ns]
        full = rule.window.traces is not None and len(evidence) >= rule.window.traces
        flags = {
            state: flags[state] and _surely(rule, evidence, limit)
            for state, limit in rule.thresholds().items()
        }
    return replace(_done(rule, value, len(values), interval, found, flags), full=full)


def _summed(rule: Rule, found: Values, values: Any) -> Reading:
    """A sum; of calls of which some do not say it, what the others come to, which is said."""
    value, missing, note = float(values.sum()), found.traces - len(values), ""
    if rule.measure.of_calls and missing:
        many = (
            f"all {missing:,} calls"
            if not len(values)
            else f"{missing:,} of {found.traces:,} calls"
        )
        note = f"nothing says what {many} {_SAYS[rule.measure.name]}"
    enough = rule.measure.name == "calls" or (found.traces >= rule.at_least and len(values) > 0)
    if found.traces < rule.at_least and not enough:
        note = f"{found.traces} calls of models; {rule.at_least} are needed"
    return _done(
        *(rule, value, len(values), None, found, _plainly(rule, value)), enough=enough, note=note
    )


_SAYS = {
    "cost_usd": "cost; say watts and prices in prices.json (docs: cost)",
    "input_tokens": "read",
    "output_tokens": "wrote",
}


def _done(
    rule: Rule,
    value: float,
    n: int,
    interval: tuple[float, float] | None,
    found: Values,
    flags: Mapping[str, bool],
    *,
    enough: bool = True,
    note: str = "",
) -> Reading:
    low, high = interval if interval is not None else (None, None)
    traces = found.worst() if any(past(rule, value, t) for t in rule.thresholds().values()) else ()
    return Reading(
        value if enough else None,
        n,
        low,
        high,
        dict(flags),
        enough=enough,
        traces=traces,
        note=note,
    )


def _plainly(rule: Rule, value: float) -> dict[str, bool]:
    return {state: past(rule, value, limit) for state, limit in rule.thresholds().items()}


def _estimate(rule: Rule, values: Any) -> tuple[float, tuple[float, float] | None]:
    """The value of a window, and its interval for one look."""
    measure = rule.measure
    if measure.kind == "share":
        made = rate(values, confidence=CONFIDENCE)
        return made.value, (made.interval.low, made.interval.high)
    if measure.kind == "quantile":
        return _quantile(values, measure.q)
    if len(values) < 2:
        return float(values[0]), None
    made = mean(values, confidence=CONFIDENCE)
    return made.value, (made.interval.low, made.interval.high)


def _quantile(values: Any, q: float) -> tuple[float, tuple[float, float] | None]:
    """A quantile, and the order statistics that hold the true one with 95 % (Conover 1999, section 3.2)."""
    import numpy as np
    from scipy.stats import binom

    ordered = np.sort(values)
    n, tail = len(ordered), (1 - CONFIDENCE) / 2
    value = float(np.quantile(ordered, q, method="inverted_cdf"))
    below, above = int(binom.ppf(tail, n, q)), int(binom.ppf(1 - tail, n, q))
    if below < 1 or above >= n:
        return value, None
    return value, (float(ordered[below - 1]), float(ordered[above]))


def _surely(rule: Rule, values: Any, limit: float) -> bool:
    """Whether the values since the epoch rule out, at every look, that the true value was never past the limit.

    A quantile is above a limit exactly if more than the rest of the values are, which is a rate.
    """
    if not len(values):
        return False
    measure, above = rule.measure, rule.direction == "above"
    if measure.kind == "quantile":
        past_it = (values > limit if above else values < limit).astype(float)
        allowed = 1 - measure.q if above else measure.q
        return always_valid_p(past_it, allowed, bounds=(0.0, 1.0)) <= rule.level
    bounds = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else None
    return always_valid_p(values, limit, bounds=bounds, above=above) <= rule.level
