"""Where latency, tokens or cost of a prompt version went up and stayed up.

Each version has its own normal, learnt from its older calls. Latency is judged by what is left of it once the tokens of
a call are taken into account, so that longer answers are told as longer answers and not as a slower machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.config import number, whole
from llmops_jupyter.errors import OptionError
from llmops_jupyter.monitor.cost.changes import LEAST_BASELINE, Detector, Numbers, calibrated
from llmops_jupyter.monitor.cost.costs import conditions
from llmops_jupyter.monitor.cost.spikereport import Series, Spike, SpikeReport
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.purposes import traffic
from llmops_jupyter.tracing.records import iso

# The increase that is looked for in each.
SHIFTS: Mapping[str, float] = {"latency": 0.2, "tokens": 0.5, "cost": 0.5}
# Newest calls that are looked at, of each version and in all; most calls of a baseline.
MOST_CALLS, MOST_OF_ALL, MOST_BASELINE = 5_000, 50_000, 1_000
# Alarms that follow each other so closely, in calls, belong to one spike at least.
GAP = 20
LEAST_FIT = 1e-3


@dataclass(frozen=True)
class _Calls:
    """The calls of a version on a model, oldest first; `batched` were asked together, so that their times are waiting."""

    prompt: str
    model: str
    traces: Sequence[str]
    start_ns: Sequence[int]
    seconds: Numbers
    fresh: Numbers
    output: Numbers
    cost: Numbers
    batched: bool


def spike_report(
    store: Store,
    filters: Mapping[str, Any],
    *,
    per_thousand: float = 1.0,
    baseline: int | None = None,
) -> SpikeReport:
    """Look for spikes in the calls that fit the filters.

    Raises:
        OptionError: an argument or a filter cannot be used.
        MissingDependencyError: river is not installed.
    """
    _check(per_thousand, baseline)
    groups, left_out = _read(store, filters)
    series: list[Series] = []
    short: dict[str, int] = {}
    for calls in groups:
        n = len(calls.traces)
        size = min(n // 2, MOST_BASELINE) if baseline is None else baseline
        if size < LEAST_BASELINE or n <= size:
            short[f"{calls.prompt} on {calls.model}"] = n
            continue
        metrics = _metrics(calls, size)
        series += [
            _series(calls, metric, values, size, per_thousand / len(metrics))
            for metric, values in metrics.items()
        ]
    return SpikeReport(series, per_thousand, short, _notes(series, short, left_out, baseline))


def _check(per_thousand: Any, baseline: Any) -> None:
    if not 0.05 <= number("per_thousand", per_thousand) <= 100:
        raise OptionError(f"per_thousand is between 0.05 and 100, not {per_thousand!r:.80}.")
    if baseline is not None and not LEAST_BASELINE <= whole("baseline", baseline) <= MOST_CALLS:
        raise OptionError(
            f"baseline is a number of calls from {LEAST_BASELINE} to {MOST_CALLS:,}, not {baseline!r:.80}."
        )


def _read(store: Store, filters: Mapping[str, Any]) -> tuple[list[_Calls], int]:
    """The newest calls of each version, but for evaluations; and how many had no version."""
    import numpy as np

    where, parameters = conditions(filters)
    rows = store.rows(
        "SELECT s.prompt_name || '@' || s.prompt_version AS prompt, coalesce(s.model, '') AS model, s.trace_id, "
        "s.start_ns, (s.end_ns - s.start_ns) / 1e9 AS seconds, coalesce(s.input_tokens, 0) AS asked, "
        "coalesce(s.cached_tokens, 0) AS cached, coalesce(s.output_tokens, 0) AS output, s.cost, "
        f"{names.MAP_ROWS_SQL} > 1 AS batched FROM spans s "
        f"WHERE {where} AND s.status = 'ok' AND {traffic()} ORDER BY s.id DESC LIMIT {MOST_OF_ALL}",
        parameters,
    )
    groups: dict[tuple[str, str, bool], list[Any]] = {}
    for row in rows:
        if row["prompt"] is not None and row["seconds"] > 0:
            kept = groups.setdefault((row["prompt"], row["model"], bool(row["batched"])), [])
            if len(kept) < MOST_CALLS:
                kept.append(row)
    found = []
    for (prompt, model, batched), newest_first in groups.items():
        kept = newest_first[::-1]
        columns = {
            name: np.array([row[name] for row in kept], dtype=np.float64)
            for name in ("seconds", "asked", "cached", "output", "cost")
        }
        found.append(
            _Calls(
                prompt,
                model,
                [row["trace_id"] for row in kept],
                [row["start_ns"] for row in kept],
                columns["seconds"],
                np.maximum(columns["asked"] - columns["cached"], 0),
                columns["output"],
                columns["cost"],
                batched,
            )
        )
    return found, sum(row["prompt"] is None for row in rows)


def _metrics(calls: _Calls, size: int) -> dict[str, Numbers]:
    """The logarithms of what is watched."""
    import numpy as np

    found = {} if calls.batched else {"latency": _latency(calls, size)}
    found["tokens"] = np.log1p(calls.output)
    if bool((calls.cost > 0).all()):
        found["cost"] = np.log(calls.cost)
    return found


def _latency(calls: _Calls, size: int) -> Numbers:
    """The logarithm of the time of each call, less what its tokens let expect; the baseline says what they do."""
    import numpy as np

    values = np.log(calls.seconds)
    tokens = np.column_stack([np.log1p(calls.fresh), np.log1p(calls.output)])
    varies = tokens[:size].std(axis=0) > LEAST_FIT
    if not varies.any():
        return values
    from sklearn.linear_model import HuberRegressor
    from sklearn.preprocessing import StandardScaler

    used = StandardScaler().fit(tokens[:size][:, varies])
    told = used.transform(tokens[:, varies])
    try:
        fitted = HuberRegressor(max_iter=500).fit(told[:size], values[:size])
    except ValueError:  # it found no line that these calls follow
        return values
    expected: Numbers = fitted.predict(told)
    found: Numbers = values - expected + float(np.median(expected[:size]))
    return found


def _series(calls: _Calls, metric: str, values: Numbers, size: int, rate: float) -> Series:
    import numpy as np

    detector = calibrated(values[:size], SHIFTS[metric], rate)
    after = values[size:]
    spikes = _spikes(calls, metric, detector, after, size)
    return Series(
        metric,
        calls.prompt,
        calls.model,
        size,
        detector,
        np.array(calls.start_ns, dtype=np.float64) / 1e9,
        np.exp(values - detector.scale.centre),
        spikes,
    )


def _spikes(
    calls: _Calls, metric: str, detector: Detector, after: Numbers, size: int
) -> list[Spike]:
    """Alarms as times in which the figure was high; those that follow each other are one."""
    gap = max(GAP, math.ceil(2 * detector.delay.ninetieth))
    times: list[list[int]] = []
    begin = 0
    for alarm in detector.alarms(after):
        first = detector.onset(after, begin, alarm)
        begin = alarm + 1
        if times and first - times[-1][2] <= gap:
            times[-1][2] = alarm
        else:
            times.append([first, alarm, alarm])
    return [_spike(calls, metric, detector, after, size, gap, *one) for one in times]


def _spike(
    calls: _Calls,
    metric: str,
    detector: Detector,
    after: Numbers,
    size: int,
    gap: int,
    first: int,
    alarm: int,
    last: int,
) -> Spike:
    import numpy as np

    ended = len(after) - 1 - last > gap
    stop = last + 1 if ended else len(after)
    inside = after[first:stop]
    order = np.argsort(-inside, kind="stable")
    return Spike(
        metric,
        calls.prompt,
        calls.model,
        math.exp(float(np.median(inside)) - detector.scale.centre),
        iso(calls.start_ns[size + first]),
        iso(calls.start_ns[size + alarm]),
        ended,
        stop - first,
        alarm - first + 1,
        [calls.traces[size + first + int(i)] for i in order],
        size + first,
        size + stop - 1,
        size + alarm,
    )


def _notes(
    series: Sequence[Series], short: Mapping[str, int], left_out: int, baseline: int | None
) -> list[str]:
    notes = []
    if series:
        notes.append(
            "Latency is what is left of a call's time once its tokens are taken into account. False alarms are "
            "counted in streams drawn from each version's own baseline, of which the spread is part."
        )
    unmet = [one for one in series if one.detector.bound > one.detector.promised]
    notes += [
        f"{one.prompt} on {one.model}: {one.metric} cannot keep to the rate; its baseline itself drifts or is too short."
        for one in unmet
    ]
    least = 2 * LEAST_BASELINE if baseline is None else baseline + 1
    notes += [f"{name} has {n} calls; {least} are needed." for name, n in list(short.items())[:5]]
    if not series and not short:
        notes.append(
            "No calls of kept prompts were found. Run a prompt that has a name, or widen the filters."
        )
    if left_out:
        notes.append(
            f"{left_out:,} calls of prompts without a name are left out: no two need be alike."
        )
    return notes
