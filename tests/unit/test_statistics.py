"""Statistics: known values, bad input, and what intervals and tests promise, by simulation with fixed seeds.

The simulations are small; `benchmarks` has those of 10,000 draws.
"""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.statistics import (
    adjusted,
    always_valid,
    always_valid_difference,
    always_valid_mean,
    binary_spread,
    clustered_difference,
    clustered_mean,
    cohens_kappa,
    corrected_mean,
    design_effect,
    detectable,
    krippendorffs_alpha,
    mcnemar_mid_p,
    mean,
    paired_means,
    paired_rates,
    rate,
    rows_needed,
    sample_ratio,
    separate_means,
    separate_rates,
)
from llmops_jupyter.evaluation.statistics.proportions import bonett_price, tango

DRAWS = 1_000
# Rejections among so many draws that a true 5 % exceeds in one of a hundred trials.
MOST = int(binom.ppf(0.99, DRAWS, 0.05))


def rng(seed=0):
    return np.random.default_rng(seed)


# Known values.


def test_wilson_is_that_of_the_textbook():
    found = rate([1] * 8 + [0] * 2)
    assert found.value == 0.8
    assert found.interval.low == pytest.approx(0.4901625, abs=1e-6)
    assert found.interval.high == pytest.approx(0.9433178, abs=1e-6)


def test_no_successes_leave_room_above():
    found = rate([0] * 20).interval
    assert found.low == 0
    assert 0.1 < found.high < 0.2


def test_mcnemar_with_mid_p_is_half_of_the_last_term_below_the_exact_one():
    exact = 2 * binom.cdf(2, 10, 0.5)
    assert mcnemar_mid_p(8, 2) == pytest.approx(exact - binom.pmf(2, 10, 0.5))
    assert mcnemar_mid_p(0, 0) == 1
    assert mcnemar_mid_p(5, 5) <= 1


@pytest.mark.parametrize(("gained", "lost", "n"), [(9, 1, 44), (20, 12, 80), (3, 4, 200)])
def test_the_score_interval_ends_where_the_score_test_turns(gained, lost, n):
    """The variance is that of the likeliest rates with this difference, found here by search."""

    def statistic(difference):
        def unlikely(down):
            up, rest = down + difference, 1 - 2 * down - difference
            parts = zip((gained, lost, n - gained - lost), (up, down, rest), strict=True)
            return -sum(k * math.log(max(p, 1e-300)) for k, p in parts if k)

        low, high = max(0.0, -difference), (1 - difference) / 2
        down = minimize_scalar(unlikely, (low, high), (low, high), method="bounded").x
        variance = (2 * down + difference - difference**2) / n
        return ((gained - lost) / n - difference) / math.sqrt(variance)

    found = tango(gained, lost, n)
    assert statistic(found.low) == pytest.approx(1.96, abs=0.02)
    assert statistic(found.high) == pytest.approx(-1.96, abs=0.02)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_intervals_of_paired_rates_hold_the_difference_and_mirror_each_other(gained, lost, same):
    n = gained + lost + same
    if not n:
        return
    for make in (bonett_price, tango):
        found, other = make(gained, lost, n), make(lost, gained, n)
        assert -1 <= found.low <= found.high <= 1
        if make is tango:
            assert found.low - 1e-6 <= (gained - lost) / n <= found.high + 1e-6
        assert found.low == pytest.approx(-other.high, abs=1e-6)


def test_clusters_of_one_row_are_no_clusters():
    values = rng().normal(0.3, 1, 40)
    one, plain = clustered_mean(values, range(40)), mean(values)
    assert one.interval.low == pytest.approx(plain.interval.low)
    assert one.df == pytest.approx(39)
    assert design_effect(values, range(40)) == 1


def test_equal_clusters_are_compared_by_their_means():
    values = rng(1).normal(size=60) + np.repeat(rng(2).normal(size=6), 10)
    names = np.repeat(list("abcdef"), 10)
    found, plain = clustered_mean(values, list(names)), mean(values.reshape(6, 10).mean(axis=1))
    assert found.interval.low == pytest.approx(plain.interval.low)
    assert found.df == pytest.approx(5)
    assert 5 < design_effect(values, list(names)) <= 10


def test_corrections_are_those_of_holm_and_of_benjamini_and_hochberg():
    given_ = [0.01, 0.04, 0.03, 0.2]
    assert adjusted(given_) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert adjusted(given_, "benjamini-hochberg") == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.2])
    assert adjusted([0.5]) == [0.5]
    assert adjusted([]) == []
    assert adjusted(given_, "none") == given_


def test_a_correction_sweeps_nothing_that_was_there_before(monkeypatch):
    """statsmodels collects garbage at each; in a kernel with much in memory that is up to a second."""
    left = []
    monkeypatch.setattr(gc, "collect", lambda *_: left.append(gc.get_freeze_count()))
    before = len(gc.get_objects())
    assert adjusted([0.01, 0.02]) == pytest.approx([0.02, 0.02])
    assert left
    assert min(left) >= before
    assert gc.get_freeze_count() == 0
    gc.freeze()
    try:
        adjusted([0.01, 0.02])
        assert gc.get_freeze_count() > 0  # what others have frozen stays so
    finally:
        gc.unfreeze()


def test_planning_and_what_can_be_detected_are_inverse():
    rows = rows_needed(0.1, 0.5)
    assert detectable(rows, 0.5).detectable == pytest.approx(0.1, rel=0.02)
    assert rows_needed(0.1, 0.5, design_effect=3) == pytest.approx(3 * rows, rel=0.02)
    assert rows_needed(0.0, 0.5) is None
    assert rows_needed(1e-9, 0.5) is None
    assert rows_needed(5.0, 0.1) >= 2
    assert binary_spread(0.2, 0.1) == pytest.approx(math.sqrt(0.19))


def test_a_split_that_went_wrong_is_told_and_a_good_one_is_not():
    assert not sample_ratio({"a": 900, "b": 95}, {"a": 0.9, "b": 0.1}).is_off
    assert sample_ratio({"a": 700, "b": 300}, {"a": 0.9, "b": 0.1}).is_off
    assert sample_ratio({"a": 20}, {"a": 1, "b": 1}).is_off


def test_agreement_by_chance_is_none():
    a, b = rng(1).integers(0, 2, 400), rng(2).integers(0, 2, 400)
    found = cohens_kappa(list(a), list(b))
    assert 0 in found.interval
    assert cohens_kappa(list(a), list(a)).value == 1
    assert cohens_kappa(list(a), list(a)).interval.low < 1


def test_a_judge_that_always_says_the_same_agrees_with_nobody():
    found = cohens_kappa(["good"] * 30, ["good"] * 25 + ["bad"] * 5)
    assert found.value == 0
    assert found.interval.low < 0
    assert cohens_kappa(["good"] * 30, ["good"] * 30).interval.low < 0


def test_alpha_allows_for_what_was_left_out():
    labels = {str(i): int(i % 3) for i in range(60)}
    other = {k: v for k, v in labels.items() if int(k) > 10}
    assert krippendorffs_alpha({"a": labels, "b": other}).value == 1
    wrong = {k: (v + (int(k) % 4 == 0)) % 3 for k, v in labels.items()}
    found = krippendorffs_alpha({"a": labels, "b": wrong, "c": other}, level="ordinal")
    assert 0.3 < found.interval.low < found.value < found.interval.high <= 1


# Bad input.


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: rate([]), "0 of the scores"),
        (lambda: rate([0, 2]), "0 or 1"),
        (lambda: rate([1, 0], method="wald"), "wilson"),
        (lambda: rate([1, 0], confidence=95), "0.95"),
        (lambda: mean([1.0]), "at least 2"),
        (lambda: mean([1.0, math.nan, math.inf]), "2 of 3"),
        (lambda: mean(["a", "b"]), "numbers"),
        (lambda: paired_means([1, 2], [1, 2, 3]), "2 and 3"),
        (lambda: paired_means([1, 2], [1, 2], method="z"), "bootstrap"),
        (lambda: paired_rates([1, 0], [0.5, 0]), "0 or 1"),
        (lambda: clustered_mean([1, 2], ["a", "a"]), "one cluster"),
        (lambda: clustered_mean([1, 2], ["a"]), "needs one"),
        (lambda: adjusted([1.5]), "between 0 and 1"),
        (lambda: adjusted([0.5], "sidak"), "holm"),
        (lambda: always_valid_mean([2.0], 0, 1), "bounds"),
        (lambda: corrected_mean([1] * 5, [1] * 5, [1] * 9), "at least 10"),
        (lambda: corrected_mean([1] * 12, [1] * 11, [1] * 9), "judgement"),
        (lambda: cohens_kappa(["a"], []), "two labels"),
        (lambda: krippendorffs_alpha({"a": {"1": 1}}), "two judges"),
        (lambda: krippendorffs_alpha({"a": {"1": "x"}, "b": {"1": "y"}}, level="ratio"), "numbers"),
        (lambda: sample_ratio({}, {"a": 1, "b": 1}), "nothing to check"),
        (lambda: sample_ratio({"c": 1}, {"a": 1, "b": 1}), "no share for c"),
        (lambda: detectable(1, 0.5), "too few"),
        (lambda: rows_needed(0.1, 0.5, power=80), "0.8"),
        (lambda: binary_spread(0.1, 0.2), "no smaller"),
    ],
)
def test_bad_input_is_told(call, told):
    with pytest.raises((DataError, OptionError), match=told):
        call()


def test_scores_that_never_differ_leave_room_for_what_was_not_seen():
    found = paired_means([1.0] * 20, [1.0] * 20)
    assert found.value == 0
    assert found.p_value == 1
    assert found.interval.low < -0.1 < 0.1 < found.interval.high


# What they promise.


@pytest.mark.parametrize("make", [bonett_price, tango])
def test_intervals_of_paired_rates_cover(make):
    random, covered = rng(3), []
    for n in (30, 100, 300):
        for up, down in ((0.02, 0.02), (0.1, 0.1), (0.05, 0.2), (0.01, 0.1)):
            draws = random.multinomial(n, [up, down, 1 - up - down], size=DRAWS)
            pairs, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
            inside = sum(
                count * ((up - down) in make(int(more), int(fewer), n))
                for (more, fewer), count in zip(pairs, counts, strict=True)
            )
            covered.append(inside / DRAWS)
            assert n < 100 or covered[-1] >= 0.92
    assert 0.94 <= np.mean(covered) <= 0.975


@pytest.mark.parametrize("n", [6, 12, 40])
def test_paired_scores_rarely_differ_where_nothing_does(n):
    random, rejected = rng(n), 0
    for _ in range(DRAWS):
        difference = random.normal(size=n) * random.choice([1, 2], size=n)
        rejected += 0 not in paired_means(np.zeros(n), difference, method="t").interval
    assert rejected <= MOST


@pytest.mark.parametrize("equal", [True, False])
def test_eight_clusters_rarely_differ_where_nothing_does(equal):
    random, rejected, naive = rng(5), 0, 0
    for _ in range(DRAWS):
        sizes = np.full(8, 10) if equal else random.integers(3, 25, size=8)
        names = np.repeat(np.arange(8), sizes)
        values = random.normal(size=8)[names] + random.normal(size=len(names))
        rejected += 0 not in clustered_mean(values, list(names)).interval
        naive += 0 not in mean(values).interval
    assert rejected <= MOST
    assert naive > 3 * MOST


def test_looking_thirty_times_finds_nothing_where_nothing_is():
    random, rejected, naive = rng(6), 0, 0
    for _ in range(DRAWS):
        values = random.normal(size=600)
        ever = once = False
        for n in np.linspace(20, 600, 30).astype(int):
            se = values[:n].std(ddof=1) / math.sqrt(n)
            found = always_valid(values[:n].mean(), se, 1 / math.sqrt(300), 0.95)
            ever |= 0 not in found
            once |= abs(values[:n].mean()) > 1.96 * se
        rejected += ever
        naive += once
    assert rejected <= MOST
    assert naive > 3 * MOST


def test_the_interval_by_betting_holds_at_all_times_and_gets_narrow():
    random, missed = rng(7), 0
    for _ in range(100):
        changes = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=200)
        # It is the intersection over all numbers of rows so far.
        missed += 0 not in always_valid_mean(changes, -1, 1).interval
    assert missed <= binom.ppf(0.99, 100, 0.05)
    a = random.random(800) < 0.6
    b = a | (random.random(800) < 0.3)
    found = always_valid_difference(a.astype(float), b.astype(float), bounds=(0, 1))
    assert 0 < found.interval.low < b.mean() - a.mean() < found.interval.high
    assert found.interval.width < 0.2


def test_too_few_rows_without_bounds_say_nothing():
    found = always_valid_difference([1.0] * 5, [9.0] * 5)
    assert math.isinf(found.interval.width)


def test_a_planned_comparison_finds_what_it_was_planned_for():
    n, found = rows_needed(0.1, 0.5), 0
    random = rng(8)
    for _ in range(DRAWS):
        found += paired_means(np.zeros(n), random.normal(0.1, 0.5, n), method="t").p_value < 0.05
    assert 0.76 < found / DRAWS < 0.85


def test_labels_correct_a_judge_that_is_biased():
    random, covered, judge_covered, widths, alone = rng(9), 0, 0, [], []
    for _ in range(400):
        truth = random.random(500) < 0.7
        judge = np.where(random.random(500) < 0.85, truth, random.random(500) < 0.9).astype(float)
        found = corrected_mean(truth[:60].astype(float), judge[:60], judge[60:])
        covered += 0.7 in found.estimate.interval
        judge_covered += 0.7 in found.judge_alone.interval
        widths.append(found.estimate.interval.width)
        alone.append(found.labels_alone.interval.width)
    assert covered >= binom.ppf(0.01, 400, 0.95)
    assert judge_covered < covered
    assert np.mean(widths) < 0.75 * np.mean(alone)


def test_a_judge_that_knows_nothing_counts_for_nothing():
    random = rng(10)
    labels = (random.random(200) < 0.5).astype(float)
    judge = (random.random(900) < 0.5).astype(float)
    found = corrected_mean(labels, judge[:200], judge[200:])
    assert found.weight < 0.2
    assert found.estimate.interval.width < 1.1 * found.labels_alone.interval.width


def test_other_rows_are_compared_as_such():
    random = rng(11)
    a, b = random.random(400) < 0.5, random.random(300) < 0.7
    found = separate_rates(a.astype(int), b.astype(int))
    assert pytest.approx(found.value, abs=0.1) == 0.2
    assert found.p_value < 0.001
    assert separate_rates([0] * 9, [0] * 9).p_value == 1
    numbers = separate_means(random.normal(0, 1, 50), random.normal(1, 3, 40))
    assert 1.0 in numbers.interval
    assert separate_means([1, 1], [1, 1]).value == 0


def test_repeats_of_a_row_are_one_cluster():
    random = rng(12)
    a = np.repeat(random.random(30) < 0.5, 5).astype(float)
    b = np.repeat(random.random(30) < 0.5, 5).astype(float)
    names = np.repeat(np.arange(30), 5)
    found = clustered_difference(a, b, list(names))
    assert found.clusters == 30
    assert found.interval.width > 1.9 * paired_means(a, b).interval.width
    few = paired_means(a[:10], b[:10], method="permutation")
    assert 0 < few.p_value <= 1
    wide = paired_means(a, b, method="bootstrap").interval
    assert wide.method.startswith("bootstrap")
