"""Evaluation: what intervals and tests promise, by simulation, beside what is usual without them.

Each figure is a share of samples from a known truth. No model and no data set is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.stats import binom

from benchmarks import scoring
from benchmarks.report import Row
from llmops_jupyter.evaluation.looks import FIRST, PLANNED
from llmops_jupyter.evaluation.statistics import (
    always_valid,
    clustered_mean,
    corrected_mean,
    paired_means,
    paired_rates,
    rate,
)
from llmops_jupyter.evaluation.statistics.proportions import bonett_price, tango

DRAWS, QUICK = 10_000, 500
SIZES = (30, 50, 100, 300, 1000)
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 0.95)
CHANGES = ((0.02, 0.02), (0.05, 0.05), (0.1, 0.1), (0.2, 0.2), (0.02, 0.1), (0.05, 0.2), (0.1, 0.3))


def measure(*, quick: bool) -> list[Row]:
    draws = QUICK if quick else DRAWS
    random = np.random.default_rng(20261125)
    return [
        _covered("one rate, Wilson", _of_rates(random, draws)),
        _covered(
            "two rates on the same rows, Bonett-Price", _of_pairs(random, draws, bonett_price)
        ),
        _covered("two rates on the same rows, Tango", _of_pairs(random, draws, tango)),
        _false("two rates on 60 same rows, interval", draws, *_paired(random, draws)),
        _false("scores on 12 same rows, signs reversed", draws, *_scores(random, draws)),
        _false("8 clusters of 3 to 24 rows", draws, *_clustered(random, draws)),
        _false("30 looks at up to 600 rows", draws, *_looks(random, draws)),
        _false(
            "30 looks as compare makes them: the first one plain", draws, *_compared(random, draws)
        ),
        _corrected(random, max(draws // 5, QUICK)),
        *scoring.measure(quick=quick),
    ]


def _covered(what: str, cells: dict[tuple[Any, ...], float]) -> Row:
    average = float(np.mean(list(cells.values())))
    large = {cell: share for cell, share in cells.items() if cell[0] >= 100}
    least = min(large, key=lambda cell: large[cell])
    good = 0.94 <= average <= 0.97 and large[least] >= 0.92
    return Row(
        f"coverage of the 95 % interval: {what}, {len(cells)} cells",
        f"{100 * average:.1f} % on average, {100 * large[least]:.1f} % at least from 100 rows on {least}",
        target="94–97 %, no cell from 100 rows on under 92 %",
        reached=good,
    )


def _false(what: str, draws: int, ours: int, naive: int, peer: str) -> Row:
    most = int(binom.ppf(0.99, draws, 0.05))
    return Row(
        f"differences found where there is none, at 5 %: {what}",
        f"{100 * ours / draws:.2f} % of {draws:,}",
        f"{peer}: {100 * naive / draws:.2f} %",
        target=f"≤ {100 * most / draws:.2f} % (one-sided 99 % binomial)",
        reached=ours <= most,
    )


def _of_rates(random: Any, draws: int) -> dict[tuple[Any, ...], float]:
    cells = {}
    for n in SIZES:
        for truth in RATES:
            counts = random.binomial(n, truth, draws)
            inside = sum(
                times * (truth in rate([1] * k + [0] * (n - k)).interval)
                for k, times in _counted(counts.tolist())
            )
            cells[n, truth] = inside / draws
    return cells


def _of_pairs(random: Any, draws: int, make: Callable[..., Any]) -> dict[tuple[Any, ...], float]:
    cells = {}
    for n in SIZES:
        for up, down in CHANGES:
            found = random.multinomial(n, [up, down, 1 - up - down], size=draws)
            pairs = [(int(more), int(fewer)) for more, fewer, _ in found]
            inside = sum(times * ((up - down) in make(*pair, n)) for pair, times in _counted(pairs))
            cells[n, up, down] = inside / draws
    return cells


def _counted(values: Iterable[Any]) -> Iterable[tuple[Any, int]]:
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts.items()


def _paired(random: Any, draws: int) -> tuple[int, int, str]:
    ours = naive = 0
    for _ in range(draws):
        a = random.random(60) < 0.6
        b = np.where(random.random(60) < 0.4, random.random(60) < 0.6, a)
        found = paired_rates(a.astype(int), b.astype(int))
        ours += 0 not in found.interval
        spread = (b.astype(float) - a).std(ddof=1) / math.sqrt(60)
        naive += abs(found.value) > 1.96 * spread if spread else 0
    return ours, naive, "Wald"


def _scores(random: Any, draws: int) -> tuple[int, int, str]:
    ours = naive = 0
    for _ in range(draws):
        difference = random.normal(size=12) * random.choice([1, 2], size=12)
        ours += paired_means(np.zeros(12), difference).p_value < 0.05
        naive += abs(difference.mean()) > 1.96 * difference.std(ddof=1) / math.sqrt(12)
    return ours, naive, "normal quantile"


def _clustered(random: Any, draws: int) -> tuple[int, int, str]:
    ours = naive = 0
    for _ in range(draws):
        sizes = random.integers(3, 25, size=8)
        names = np.repeat(np.arange(8), sizes)
        values = random.normal(size=8)[names] + random.normal(size=len(names))
        ours += 0 not in clustered_mean(values, names.tolist()).interval
        naive += abs(values.mean()) > 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    return ours, naive, "rows as if independent"


def _looks(random: Any, draws: int) -> tuple[int, int, str]:
    ours = naive = 0
    counts = np.linspace(20, 600, 30).astype(int)
    for _ in range(draws):
        values = random.normal(size=600)
        sums, squares = np.cumsum(values), np.cumsum(values**2)
        ever = once = False
        for n in counts:
            mean = sums[n - 1] / n
            spread = math.sqrt((squares[n - 1] - n * mean**2) / (n - 1))
            se = spread / math.sqrt(n)
            ever = ever or 0 not in always_valid(mean, se, spread / math.sqrt(300), 0.95)
            once = once or abs(mean) > 1.96 * se
        ours += ever
        naive += once
    return ours, naive, "a fixed-size interval at each look"


def _compared(random: Any, draws: int) -> tuple[int, int, str]:
    """The first look with a plain interval that spends 4/5 of the error, later ones with the rest."""
    ours = naive = 0
    counts = np.linspace(30, 600, 30).astype(int)
    first, later = 1 - FIRST * 0.05, 1 - (1 - FIRST) * 0.05
    for _ in range(draws):
        a = random.random(600) < 0.6
        b = np.where(random.random(600) < 0.4, random.random(600) < 0.6, a)
        values = b.astype(float) - a
        sums, squares = np.cumsum(values), np.cumsum(values**2)
        n = counts[0]
        gained, lost = int((values[:n] > 0).sum()), int((values[:n] < 0).sum())
        ever = 0 not in bonett_price(gained, lost, n, first)
        once = False
        for n in counts:
            mean = sums[n - 1] / n
            se = math.sqrt(max((squares[n - 1] - n * mean**2) / (n - 1), 1e-12) / n)
            if n > counts[0]:
                planned = se * math.sqrt(n / (PLANNED * counts[0]))
                ever = ever or 0 not in always_valid(mean, se, planned, later)
            once = once or abs(mean) > 1.96 * se
        ours += ever
        naive += once
    return ours, naive, "a fixed-size interval at each look"


def _corrected(random: Any, draws: int) -> Row:
    covered = biased = 0
    widths, alone = [], []
    for _ in range(draws):
        truth = random.random(500) < 0.7
        judge = np.where(random.random(500) < 0.85, truth, random.random(500) < 0.9).astype(float)
        found = corrected_mean(truth[:60].astype(float), judge[:60], judge[60:])
        covered += 0.7 in found.estimate.interval
        biased += 0.7 in found.judge_alone.interval
        widths.append(found.estimate.interval.width)
        alone.append(found.labels_alone.interval.width)
    width, labels = float(np.mean(widths)), float(np.mean(alone))
    good = covered >= binom.ppf(0.01, draws, 0.95) and width < labels
    return Row(
        f"a judge of 500 rows corrected by 60 labels, {draws:,} draws",
        f"covers the human rate in {100 * covered / draws:.1f} %, width {width:.3f}",
        f"labels alone: width {labels:.3f}; the judge alone covers in {100 * biased / draws:.1f} %",
        f"{labels / width:.2f}× narrower",
        "covers, and narrower than the labels alone",
        bool(good),
    )
