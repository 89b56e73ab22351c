"""What a number of replicas will do under a load, and how far such forecasts were from what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.deploy.sizing.capacity import Capacity
from llmops_jupyter.deploy.sizing.figures import NAMES, SHARES, LevelResult, Quantile
from llmops_jupyter.deploy.sizing.load import Limits
from llmops_jupyter.deploy.sizing.queueing import Trace, simulate_open

RUNS, REQUESTS = 8, 2_000
# The first share of each run is left out: the system begins empty.
BEGINNING = 0.2
CONFIDENCE = 0.95
CHECK_RUNS = 60


@dataclass(frozen=True)
class Forecast:
    """What a simulation says; times in seconds, percentiles with 95% intervals of the simulation alone.

    Args:
        ttft: to the first token.
        latency: to the end of the answer.
        tpot: a token after the first, averaged over an answer.
        utilisation: share of what the replicas can do at most.
        busy: share of the time in which a replica has work.
        waiting: requests that wait for a slot, on average.
        good: share of the requests within the limits; None without limits.
    """

    ttft: Mapping[str, Quantile]
    latency: Mapping[str, Quantile]
    tpot: Mapping[str, Quantile]
    utilisation: float
    busy: float
    waiting: float
    good: float | None


@dataclass(frozen=True)
class Check:
    """A forecast beside what was measured.

    Args:
        rate: requests a second.
        name: of the figure, such as 'first token p95'.
        measured: seconds, with its interval.
        forecast: seconds: the middle of simulated runs of the same length, and the range of 95% of them.
    """

    rate: float
    name: str
    measured: Quantile
    forecast: Quantile

    @property
    def error(self) -> float:
        """Forecast less measured, as a share of the measured."""
        seen = self.measured.value
        return self.forecast.value / seen - 1 if seen > 0 else math.nan

    @property
    def inside(self) -> bool:
        """Whether the interval of the measured one reaches into the range of the simulated ones."""
        return self.forecast.low <= self.measured.high and self.measured.low <= self.forecast.high

    def row(self) -> dict[str, Any]:
        """For people."""
        return {
            "load": f"{self.rate:g} requests/s",
            "figure": self.name,
            "measured": self.measured.words(),
            "forecast": self.forecast.words(),
            "error": f"{self.error:+.0%}",
            "within": "yes" if self.inside else "no",
        }


def forecast(
    capacity: Capacity, rate: float, replicas: int, limits: Limits, *, route: str = "least"
) -> Forecast:
    """Simulate a load that lasts.

    Args:
        capacity: of a replica.
        rate: requests a second.
        replicas: how many.
        limits: of good answers.
        route: how requests find a replica.
    """
    runs = [
        simulate_open(
            capacity.service,
            rate,
            capacity.draw,
            replicas=replicas,
            requests=REQUESTS,
            route=route,
            seed=seed,
        )
        for seed in range(RUNS)
    ]
    times = [_times(run, BEGINNING) for run in runs]
    good = None
    if limits != Limits():
        good = sum(_good(one, limits) for one in times) / len(times)
    return Forecast(
        ttft=_between(times, "ttft"),
        latency=_between(times, "latency"),
        tpot=_between(times, "tpot"),
        utilisation=rate / (replicas * capacity.request_rate),
        busy=sum(run.utilisation for run in runs) / len(runs),
        waiting=sum(run.waiting for run in runs) / len(runs),
        good=good,
    )


def checks(capacity: Capacity, levels: Sequence[LevelResult], warmup_s: float) -> list[Check]:
    """Forecasts of open loops that were measured: runs of the same length that begin empty as they did."""
    found = []
    for level in levels:
        if not level.ttft:
            continue
        times = []
        for seed in range(CHECK_RUNS):
            run = simulate_open(
                capacity.service,
                level.level.value,
                capacity.draw,
                seconds=warmup_s + level.seconds,
                seed=seed,
            )
            times.append(_times(run, since=warmup_s))
        for name, kind in (("first token", "ttft"), ("latency", "latency")):
            for share in ("p50", "p95"):
                measured = getattr(level, kind)[share]
                spread = _spread(times, kind, share)
                if spread is not None:
                    found.append(Check(level.level.value, f"{name} {share}", measured, spread))
    return found


def _times(run: Trace, beginning: float = 0.0, since: float | None = None) -> dict[str, Any]:
    """Times of the requests that count, by name."""
    import numpy as np

    order = sorted(run.done, key=lambda d: d.arrived)
    kept = order[int(beginning * len(order)) :]
    if since is not None:
        kept = [d for d in kept if d.arrived >= since]
    return {
        "ttft": np.array([d.first - d.arrived for d in kept]),
        "latency": np.array([d.ended - d.arrived for d in kept]),
        "tpot": np.array([(d.ended - d.first) / d.tokens for d in kept if d.tokens > 0]),
        "pairs": [
            (d.first - d.arrived, (d.ended - d.first) / d.tokens if d.tokens > 0 else 0.0)
            for d in kept
        ],
    }


def _good(times: Mapping[str, Any], limits: Limits) -> float:
    pairs = times["pairs"]
    kept = sum(
        (limits.ttft_s is None or first <= limits.ttft_s)
        and (limits.itl_s is None or pace <= limits.itl_s)
        for first, pace in pairs
    )
    return float(kept / max(1, len(pairs)))


def _between(times: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Quantile]:
    """The mean over replications, with Student's interval."""
    import numpy as np
    from scipy.stats import t

    known = [one[kind] for one in times if len(one[kind])]
    if not known:
        return dict.fromkeys(NAMES, Quantile(0.0, 0.0, 0.0))
    each = np.array([np.quantile(values, SHARES) for values in known])
    middle = each.mean(axis=0)
    if len(each) < 2:
        half = np.zeros_like(middle)
    else:
        half = t.ppf((1 + CONFIDENCE) / 2, len(each) - 1) * each.std(axis=0, ddof=1)
        half = half / np.sqrt(len(each))
    return {
        name: Quantile(float(m), float(max(0.0, m - h)), float(m + h))
        for name, m, h in zip(NAMES, middle, half, strict=True)
    }


def _spread(times: Sequence[Mapping[str, Any]], kind: str, share: str) -> Quantile | None:
    """The median of a percentile over runs, and the range in which 95% of them have it."""
    import numpy as np

    at = SHARES[NAMES.index(share)]
    each = [float(np.quantile(one[kind], at)) for one in times if len(one[kind])]
    if not each:
        return None
    low, middle, high = np.quantile(each, (0.025, 0.5, 0.975))
    return Quantile(float(middle), float(low), float(high))
