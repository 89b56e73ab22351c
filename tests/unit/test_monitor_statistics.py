"""Tests of drift keep what they promise, by simulation with fixed seeds: over baselines, with sessions, for all kinds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2_contingency

from llmops_jupyter.monitor.drift.statistics.clouds import cloud_of
from llmops_jupyter.monitor.drift.statistics.counting import (
    category_bins,
    count_statistics,
    number_bins,
)
from llmops_jupyter.monitor.drift.statistics.pool import Pool
from llmops_jupyter.monitor.drift.statistics.units import Units, p_value, permutations_for, units_of

DRAWS = 400
LEVEL = 0.1
PERMUTATIONS = 39
# Rejections that a true level exceeds in one of a hundred trials.
MOST = int(binom.ppf(0.99, DRAWS, LEVEL))


def sphere(rng, rows, width=8, shift=0.0):
    found = rng.standard_normal((rows, width)).astype(np.float32)
    found[:, 0] += shift
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def labels_of(before, now):
    return units_of([None] * before, [None] * now)


def rejections(draw):
    """How often each test of the pool that `draw` makes rejects, and how often Holm's procedure does."""
    rng = np.random.default_rng(7)
    counts, any_ = None, 0
    for _ in range(DRAWS):
        p_values = np.asarray(draw(rng).p_values(PERMUTATIONS, rng))
        counts = (p_values <= LEVEL) + (0 if counts is None else counts)
        any_ += bool((p_values * len(p_values) <= LEVEL).any())
    return counts, any_


def test_every_kind_of_test_keeps_its_level_over_fresh_baselines():
    def draw(rng):
        units, n = labels_of(40, 20), 60
        bins = (
            number_bins("gamma", rng.gamma(1.0, 1.0, n)),
            number_bins("whole", rng.poisson(3.0, n).astype(float)),
            category_bins("kind", [str(k) for k in rng.choice(4, n, p=[0.6, 0.2, 0.1, 0.1])]),
        )
        return Pool(units, bins, (cloud_of("text", np.arange(n), sphere(rng, n), units.of_row),))

    counts, any_ = rejections(draw)
    assert counts.max() <= MOST
    assert any_ <= MOST
    assert counts.min() >= 5  # they do reject: a test that never did would keep any level


def sessions_of(rng, sizes):
    """Rows of sessions in which all rows are almost the same, with their sessions."""
    values, vectors, names = [], [], []
    for place, size in enumerate(sizes):
        middle, point = rng.standard_normal(), rng.standard_normal(8)
        values += list(middle + 0.05 * rng.standard_normal(size))
        vectors += list(point + 0.05 * rng.standard_normal((size, 8)))
        names += [f"s{place}"] * size
    found = np.asarray(vectors, np.float32)
    return np.asarray(values), found / np.linalg.norm(found, axis=1, keepdims=True), names


def pool_of_sessions(rng, *, whole):
    sizes = rng.integers(1, 8, 36)
    values, vectors, names = sessions_of(rng, sizes)
    before = int(sizes[:24].sum())
    sides = (names[:before], names[before:])
    units = units_of(*(sides if whole else ([None] * len(side) for side in sides)))
    rows = np.arange(len(values))
    return Pool(units, (number_bins("x", values),), (cloud_of("t", rows, vectors, units.of_row),))


def test_sessions_that_are_permuted_whole_keep_the_level_and_torn_ones_do_not():
    whole, _ = rejections(lambda rng: pool_of_sessions(rng, whole=True))
    assert whole.max() <= MOST
    torn, _ = rejections(lambda rng: pool_of_sessions(rng, whole=False))
    assert torn[:2].min() > 2 * MOST


def test_planted_changes_are_found():
    rng = np.random.default_rng(3)
    units = labels_of(200, 60)
    numbers = np.concatenate([rng.standard_normal(200), 1.0 + rng.standard_normal(60)])
    spread = np.concatenate([rng.standard_normal(200), 3.0 * rng.standard_normal(60)])
    kinds = ["a"] * 180 + ["b"] * 20 + ["a"] * 35 + ["b"] * 25
    topic = np.concatenate([sphere(rng, 200), sphere(rng, 40), sphere(rng, 20, shift=6.0)])
    rows = np.arange(260)
    pool = Pool(
        units,
        (number_bins("moved", numbers), number_bins("wider", spread), category_bins("k", kinds)),
        (cloud_of("text", rows, topic, units.of_row),),
    )
    found = dict(zip(pool.tests, pool.p_values(199, rng), strict=True))
    assert found["moved", "Anderson–Darling"] == 1 / 200
    assert found["wider", "Anderson–Darling"] == 1 / 200
    assert found["k", "chi-squared"] == 1 / 200
    assert found["text", "MMD"] == 1 / 200


def test_scattered_texts_that_are_like_nothing_before_are_novel():
    rng = np.random.default_rng(4)
    narrow = sphere(rng, 230, width=40)
    narrow[:, 8:] *= 0.1
    far = sphere(rng, 20, width=40)
    values = np.concatenate([narrow, far])
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    units = labels_of(200, 50)
    cloud = cloud_of("text", np.arange(250), values, units.of_row)
    statistics = cloud.novelty(units.labels(199, rng))
    assert p_value(statistics) == 1 / 200


def test_the_discrepancy_is_the_unbiased_estimate_of_the_textbook():
    rng = np.random.default_rng(5)
    values, units = sphere(rng, 12), labels_of(7, 5)
    cloud = cloud_of("text", np.arange(12), values, units.of_row)
    gaps = ((values[:, None] - values[None]) ** 2).sum(2)
    kernel = np.exp(-gaps / cloud.width)
    x, y = kernel[7:, 7:], kernel[:7, :7]
    expected = (x.sum() - 5) / 20 + (y.sum() - 7) / 42 - 2 * kernel[7:, :7].mean()
    assert cloud.discrepancy(units.labels(1, rng))[0] == pytest.approx(expected, abs=1e-5)


def test_novelty_is_measured_to_the_nearest_row_of_the_baseline_under_each_labelling():
    rng = np.random.default_rng(6)
    values, units = sphere(rng, 30), labels_of(20, 10)
    cloud = cloud_of("text", np.arange(30), values, units.of_row)
    labels = units.labels(5, rng)
    squared = np.maximum(0, 2 - 2 * values.astype(float) @ values.T)
    np.fill_diagonal(squared, np.inf)
    for column, found in zip(labels.T > 0, cloud.novelty(labels), strict=True):
        nearest = squared[:, ~column].min(1) ** 2
        assert found == pytest.approx(nearest[column].mean() - nearest[~column].mean(), rel=1e-4)


def test_neighbours_of_ones_own_session_do_not_count():
    rng = np.random.default_rng(8)
    point = sphere(rng, 1)
    values = np.concatenate([np.repeat(point, 3, axis=0), sphere(rng, 5)])
    units = units_of(["a", "a", "a", None, None, None], [None, None])
    cloud = cloud_of("text", np.arange(8), values, units.of_row)
    assert (cloud.near[:3] >= 3)[:, 0].all()


def test_numbers_are_compared_by_the_statistic_of_anderson_and_darling():
    rng = np.random.default_rng(9)
    values = np.concatenate([rng.standard_normal(40), rng.standard_normal(25) + 0.3])
    units = labels_of(40, 25)
    own = count_statistics((number_bins("x", values),), units, units.labels(1, rng))[0, 0]
    inside = np.cumsum(np.argsort(values) >= 40)[:-1]  # Pettitt's form, Biometrika 63, 1976
    i = np.arange(1, 65)
    expected = ((inside * 65 - 25 * i) ** 2 / (i * (65 - i))).sum() / (40 * 25)
    assert own == pytest.approx(expected, rel=1e-5)


def test_categories_are_compared_by_pearsons_statistic():
    rng = np.random.default_rng(10)
    kinds = [str(k) for k in rng.choice(3, 80)]
    units = labels_of(50, 30)
    own = count_statistics((category_bins("k", kinds),), units, units.labels(1, rng))[0, 0]
    table = [[side.count(k) for k in "012"] for side in (kinds[:50], kinds[50:])]
    assert own == pytest.approx(chi2_contingency(table, correction=False).statistic, rel=1e-5)


def test_missing_values_are_left_out_and_not_taken_as_zero():
    values = np.asarray([1.0, np.nan, 2.0, np.inf, 3.0])
    assert number_bins("x", values).of_row.tolist() == [0, -1, 1, -1, 2]
    assert category_bins("k", ["b", None, "a"]).of_row.tolist() == [1, -1, 0]


def test_many_different_numbers_share_bins_in_their_order():
    rng = np.random.default_rng(11)
    values = rng.standard_normal(3_000)
    bins = number_bins("x", values)
    assert bins.count <= 200
    assert (np.diff(bins.of_row[np.argsort(values)]) >= 0).all()
    assert np.bincount(bins.of_row).max() <= 20


def test_each_labelling_has_as_many_units_in_the_window_as_there_are():
    units = Units(np.arange(50), np.arange(50) >= 38)
    labels = units.labels(300, np.random.default_rng(0))
    assert labels.shape == (50, 301)
    assert (labels.sum(0) == 12).all()
    assert (labels[:, 0] == units.window).all()
    assert len({column.tobytes() for column in labels.T}) > 295


def test_the_least_p_value_counts_the_ways_in_which_sessions_can_lie():
    few = units_of(["a", "a", "b", "c"], ["d", "d", "d"])
    assert few.least_p(999) == 1 / 4
    assert few.grouped
    assert few.rows.tolist() == [2, 1, 1, 3]


def test_a_session_on_both_sides_is_two_units():
    both = units_of(["a", "b"], ["a", "a"])
    assert both.shared == 1
    assert both.of_row.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("tests", "level", "expected"), [(2, 0.05, 399), (12, 0.05, 2399), (1, 0.1, 99)]
)
def test_permutations_are_enough_for_the_strictest_step(tests, level, expected):
    assert permutations_for(tests, level) == expected
    assert 10 / (expected + 1) == pytest.approx(level / tests)


def test_a_p_value_counts_what_is_equal():
    assert p_value(np.asarray([1.0, 1.0, 0.5, 2.0])) == 0.75
    assert p_value(np.zeros(10)) == 1.0
