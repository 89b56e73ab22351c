"""Drift of texts: false alarms over fresh baselines, what is found of planted changes, time, and daily looks.

Each trial draws a baseline of 500 questions and a window, anew. The window of a planted change has a fifth of its
questions on a domain that the baseline lacks, or of the kind that belongs to none.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.child import Child
from benchmarks.clinc import Clinc, clinc
from benchmarks.corpora import DataMissing
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row, spread
from llmops_jupyter.monitor.drift.sample import Sample, Vectors
from llmops_jupyter.monitor.drift.statistics.clouds import cloud_of
from llmops_jupyter.monitor.drift.statistics.pool import Pool, first_step
from llmops_jupyter.monitor.drift.statistics.units import Units, permutations_for
from llmops_jupyter.monitor.drift.watched import begin, references, values_of

REFERENCE, SIZES, LEVEL, SHARE = 500, (100, 300), 0.05, 0.2
TRIALS, PEER_TRIALS, FROZEN, WINDOWS = 2_000, 100, 40, 100
DAYS, A_DAY, STREAMS, DELAYS = 30, 20, 400, 100
TARGETS = {("topic", 100): 0.78, ("topic", 300): 0.97, ("oos", 100): 0.70, ("oos", 300): 0.96}
WORDS = {
    "none": "false alarms without drift",
    "topic": "+20 % of a new domain: found",
    "oos": "+20 % out of scope: found",
}
# Evidently's; the others never or always alarm, and are slow to do so.
METHODS = ("model", "ratio")
METHOD_TRIALS = {"ratio": 10}

Trial = tuple[np.ndarray, np.ndarray]


def measure(*, quick: bool) -> list[Row]:
    try:
        data = clinc(quick=quick)
    except DataMissing as e:
        return [Row("drift of CLINC150's questions", str(e))]
    trials = 60 if quick else TRIALS
    peer = _Peer(data, 5 if quick else PEER_TRIALS)
    rows = []
    with peer:
        for kind in WORDS:
            for size in SIZES:
                rows.append(_rates(data, kind, size, trials, peer))
        rows += [_spread(data, size, *((6, 20) if quick else (FROZEN, WINDOWS))) for size in SIZES]
        rows += [_time(data, size, 5 if quick else 30, peer) for size in SIZES]
    rows.append(_looks(data, 30 if quick else STREAMS))
    rows.append(_delays(data, 10 if quick else DELAYS))
    return rows


def _trials(data: Clinc, kind: str, size: int, count: int) -> Iterator[Trial]:
    """Rows of the baseline and of the window."""
    for seed in range(count):
        rng = np.random.default_rng([seed, size])
        pool, new = data.known, data.scattered
        if kind == "topic":
            topic = rng.choice(data.names)
            pool, new = (
                pool[data.domains[pool] != topic],
                pool[data.domains[pool] == topic],
            )
        planted = 0 if kind == "none" else round(SHARE * size)
        drawn = rng.choice(pool, REFERENCE + size - planted, replace=False)
        extra = rng.choice(new, planted, replace=False)
        yield drawn[:REFERENCE], np.concatenate([drawn[REFERENCE:], extra])


def _alarms(data: Clinc, before: np.ndarray, now: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether a check of the texts alone alarms: both tests, by Holm."""
    rows = np.arange(len(before) + len(now))
    units = Units(rows, rows >= len(before))
    values = np.concatenate([data.vectors[before], data.vectors[now]])
    pool = Pool(units, (), (cloud_of("input", rows, values, rows),))
    return first_step(pool.p_values(permutations_for(2, LEVEL), rng), LEVEL)


def _rates(data: Clinc, kind: str, size: int, trials: int, peer: _Peer) -> Row:
    print(f"  {WORDS[kind]}, n = {size}", flush=True)
    count = 0
    for seed, (before, now) in enumerate(_trials(data, kind, size, trials)):
        count += _alarms(data, before, now, np.random.default_rng([seed, 1]))
    low, high = _interval(count, trials, 0.95)
    ours = f"{count / trials:.3f} ({low:.3f}–{high:.3f}, {trials:,} trials)"
    theirs = peer.rates(kind, size)
    if kind == "none":
        least = _interval(count, trials, 0.98)[0]
        return Row(
            f"{WORDS[kind]}, n = {size}",
            f"{ours}, lower 99 % bound {least:.3f}",
            theirs,
            "",
            "lower 99 % bound ≤ .05",
            least <= LEVEL,
        )
    target = TARGETS[kind, size]
    return Row(
        f"{WORDS[kind]}, n = {size}", ours, theirs, "", f"≥ {target}", count / trials >= target
    )


def _interval(count: int, trials: int, confidence: float) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, trials, 1 - confidence, "beta")
    return float(low), float(high)


def _spread(data: Clinc, size: int, baselines: int, windows: int) -> Row:
    """False alarms of single baselines, of a window's size and of ten times that."""
    print(f"  single baselines, n = {size}", flush=True)
    found = {}
    for times in sorted({REFERENCE, 10 * size}):
        rates = []
        for place in range(baselines if times <= REFERENCE else max(3, baselines // 8)):
            rng = np.random.default_rng([place, size, times])
            drawn = rng.permutation(data.known)
            before, rest = drawn[:times], drawn[times:]
            if len(rest) < size:
                continue
            count = sum(
                _alarms(data, before, rng.choice(rest, size, replace=False), rng)
                for _ in range(windows if times <= REFERENCE else windows // 2)
            )
            rates.append(count / (windows if times <= REFERENCE else windows // 2))
        if rates:
            low, mid, high = np.quantile(rates, [0, 0.5, 1])
            found[times] = (
                f"baseline of {times:,}: {low:.2f}–{high:.2f} (median {mid:.2f}, {len(rates)})"
            )
    return Row(
        f"false alarms of single baselines, n = {size}: from least to most",
        "; ".join(found.values()),
        "trial with a frozen baseline of 500: 0–.30",
    )


def _time(data: Clinc, size: int, runs: int, peer: _Peer) -> Row:
    seconds = []
    for seed, (before, now) in enumerate(_trials(data, "none", size, runs + 2)):
        began = time.perf_counter()
        _alarms(data, before, now, np.random.default_rng(seed))
        seconds.append(time.perf_counter() - began)
    theirs = peer.seconds("model", size)
    ratio = f"{np.median(theirs) / np.median(seconds[2:]):.1f}× as fast" if theirs else ""
    return Row(
        f"time of a check, n = {size}",
        spread(seconds[2:], "ms", 1e3),
        spread(theirs, "ms (model)", 1e3) if theirs else "",
        ratio,
        "≤ 30 ms",
        float(np.median(seconds[2:])) <= 0.03,
    )


class _Peer:
    """Evidently on the first trials of each kind; what it said is kept for the rows that need it."""

    def __init__(self, data: Clinc, trials: int) -> None:
        self.data, self.trials = data, trials
        self._child: Child | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._seconds: dict[tuple[str, int], list[float]] = {}
        self._version = ""

    def __enter__(self) -> _Peer:
        try:
            python = peer_python("evidently")
            self._version = peer_version("evidently")
        except PeerMissing as e:
            print(f"  {e}", flush=True)
            return self
        path = Path(self._folder.name) / "vectors.npy"
        np.save(path, self.data.vectors)
        self._child = Child(python, "benchmarks.evidently_peer").__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._child is not None:
            self._child.__exit__(*exc)
        self._folder.cleanup()

    def rates(self, kind: str, size: int) -> str:
        """The rate of each method."""
        if self._child is None:
            return ""
        said = []
        for method in METHODS:
            count = min(self.trials, METHOD_TRIALS.get(method, self.trials))
            trials = [
                [before.tolist(), now.tolist()]
                for before, now in _trials(self.data, kind, size, count)
            ]
            answer = self._child.ask(
                "alarms",
                vectors=str(Path(self._folder.name) / "vectors.npy"),
                trials=trials,
                method=method,
            )
            self._seconds.setdefault((method, size), []).extend(answer["seconds"])
            said.append(f"{method} {answer['alarms'] / count:.2f} ({count})")
        return f"Evidently {self._version}: {', '.join(said)}"

    def seconds(self, method: str, size: int) -> list[float]:
        return self._seconds.get((method, size), [])


def _sample(data: Clinc, rows: np.ndarray, prefix: str) -> Sample:
    """Rows as a stream takes them."""
    from llmops_jupyter.monitor.drift.sample import halved

    places = np.arange(len(rows))
    vectors = Vectors("MiniLM", "bench", places, halved(data.vectors[rows]))
    return Sample(
        ids=tuple(f"{prefix}{row}" for row in rows),
        sessions=(None,) * len(rows),
        times=np.zeros(len(rows), np.int64),
        numbers={},
        categories={},
        texts={},
        vectors={"input": vectors},
    )


def _run(data: Clinc, before: np.ndarray, stream: np.ndarray, salt: str) -> int | None:
    """The row of the stream at which one alarms, at a level that both of its features share."""
    sample = _sample(data, before, "b")
    measured = references(sample)
    features = begin(sample, measured)
    values = values_of(_sample(data, stream, "s"), list(range(len(stream))), measured)
    limit = math.log(len(features) / LEVEL)
    for row in range(len(stream)):
        for one in features:
            one.take(values[one.name][row], row, salt)
            if one.martingale.highest >= limit:
                return row + 1
    return None


def _looks(data: Clinc, trials: int) -> Row:
    """Thirty daily looks at the texts without drift."""
    print("  daily looks", flush=True)
    ours, scores = 0, []
    for seed in range(trials):
        rng = np.random.default_rng([seed, 3])
        drawn = rng.choice(data.known, REFERENCE + DAYS * A_DAY, replace=False)
        before, stream = drawn[:REFERENCE], drawn[REFERENCE:]
        ours += _run(data, before, stream, str(seed)) is not None
        scores.append(_novelties(data, before, stream))
    theirs = ", ".join(
        f"{name} {sum(_river(make, one) is not None for one in scores) / trials:.2f}"
        for name, make in _detectors().items()
    )
    fixed = sum(_daily(one) for one in scores) / trials
    low, high = _interval(ours, trials, 0.95)
    least = _interval(ours, trials, 0.98)[0]
    return Row(
        f"{DAYS} daily looks at {A_DAY} questions without drift: any false alarm",
        f"{ours / trials:.3f} ({low:.3f}–{high:.3f}, {trials} streams)",
        f"river on the same distances: {theirs}; Mann–Whitney each day at 5 %: {fixed:.2f}",
        "",
        "lower 99 % bound ≤ .05",
        least <= LEVEL,
    )


def _delays(data: Clinc, trials: int) -> Row:
    """Questions from the change, a fifth of them out of scope, to the alarm, after 300 quiet ones."""
    print("  delays", flush=True)
    quiet, most = 300, 300
    ours: list[float] = []
    river: dict[str, list[float]] = {name: [] for name in _detectors()}
    for seed in range(trials):
        rng = np.random.default_rng([seed, 4])
        drawn = rng.choice(data.known, REFERENCE + quiet + most, replace=False)
        before, stream = drawn[:REFERENCE], drawn[REFERENCE:].copy()
        strange = quiet + rng.choice(most, round(SHARE * most), replace=False)
        stream[strange] = rng.choice(data.scattered, len(strange), replace=False)
        ours.append(_delay(_run(data, before, stream, str(seed)), quiet))
        scores = _novelties(data, before, stream)
        for name, make in _detectors().items():
            river[name].append(_delay(_river(make, scores), quiet))
    peers = ", ".join(f"{name} {_median(found)}" for name, found in river.items())
    return Row(
        f"questions from +20 % out of scope to the alarm (median; found within {most})",
        _median(ours),
        f"river: {peers}",
    )


def _delay(at: int | None, quiet: int) -> float:
    """NaN for an alarm before the change, infinity for none."""
    if at is None:
        return math.inf
    return at - quiet if at > quiet else math.nan


def _median(found: Sequence[float]) -> str:
    there = [one for one in found if not math.isnan(one)]
    if not there:
        return "always too early"
    share = sum(map(math.isfinite, there)) / len(found)
    middle = float(np.median(there))
    said = f"{middle:.0f}" if math.isfinite(middle) else "more"
    return f"{said} ({share:.0%})"


def _novelties(data: Clinc, before: np.ndarray, stream: np.ndarray) -> np.ndarray:
    products = data.vectors[stream] @ data.vectors[before].T
    return np.sqrt(np.maximum(0, 2 - 2 * products.max(1)))


def _detectors() -> dict[str, Callable[[], object]]:
    from river import drift

    return {
        "ADWIN": drift.ADWIN,
        "KSWIN": lambda: drift.KSWIN(seed=1),
        "Page–Hinkley": drift.PageHinkley,
    }


def _river(make: Callable[[], object], scores: np.ndarray) -> int | None:
    detector = make()
    for row, score in enumerate(scores, 1):
        detector.update(float(score))
        if detector.drift_detected:
            return row
    return None


def _daily(scores: np.ndarray) -> bool:
    """Whether any day's distances differ from those of the first day, by a test at 5 % each day."""
    from scipy.stats import mannwhitneyu

    days = scores.reshape(DAYS, A_DAY)
    return any(mannwhitneyu(days[0], day).pvalue <= LEVEL for day in days[1:])
