"""Intervals hold what they should as often as they say, and shrug at outliers."""

from __future__ import annotations

import math
import random
from statistics import median, stdev

import pytest
from scipy.stats import binomtest, sem, t, theilslopes

from pytest_dlcheck.statistics import (
    Interval,
    best_renaming,
    blocks,
    interval_of,
    jitter,
    mean_interval,
    running_medians,
    share_interval,
    surely_positive,
    trend,
)


def noisy(seed: int, slope: float, count: int = 100) -> list[float]:
    rng = random.Random(seed)
    return [slope * i / (count - 1) + rng.gauss(0, 1) for i in range(count)]


def test_the_mean_lies_inside_as_often_as_promised():
    rng = random.Random(0)
    hits = 0
    for _ in range(400):
        interval = mean_interval([rng.gauss(3, 2) for _ in range(4)])
        hits += interval.low <= 3 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_a_single_value_has_no_limits():
    assert mean_interval([2.0]) == Interval(2.0, -math.inf, math.inf)
    assert math.isnan(mean_interval([]).estimate)


def test_limits_are_told_in_percent_where_there_are_any():
    assert Interval(0.1, -0.0333, 0.2).percent == "-3.33 to 20 %"
    assert mean_interval([3.0]).percent == "too few values for limits"


def test_equal_values_leave_no_doubt():
    assert mean_interval([1.5] * 4) == Interval(1.5, 1.5, 1.5)
    assert trend([1.5] * 50) == Interval(0.0, 0.0, 0.0)


def test_a_flat_series_is_seldom_called_a_trend():
    called = 0
    for seed in range(200):
        change = trend(noisy(seed, slope=0))
        called += not change.low <= 0 <= change.high
    assert called / 200 < 0.1


@pytest.mark.parametrize("slope", [-3.0, 3.0])
def test_a_trend_is_found_in_noise(slope):
    change = trend(noisy(1, slope))
    assert change.low < slope < change.high
    assert change.low * change.high > 0


def test_a_trend_shrugs_at_a_spike():
    straight = [float(i) for i in range(100)]
    spiked = [*straight[:50], 1e6, *straight[51:]]
    assert trend(spiked).estimate == pytest.approx(trend(straight).estimate, rel=0.05)


def test_too_few_values_have_no_trend():
    assert trend([3.0, 2.0, 1.0]).low == -math.inf


def test_blocks_cover_everything_once():
    assert blocks([1.0, 1.0, 2.0, 2.0], 2) == [1.0, 2.0]
    assert blocks([1.0, 2.0], 20) == [1.0, 2.0]


def test_jitter_is_the_noise_and_not_the_trend():
    rng = random.Random(2)
    series = [0.5 * i + rng.gauss(0, 0.1) for i in range(500)]
    assert jitter(series) == pytest.approx(0.1, rel=0.2)
    assert jitter([1.0, 2.0]) == 0.0


def test_an_interval_turns_around_and_scales():
    assert -Interval(1.0, 0.0, 3.0) == Interval(-1.0, -3.0, 0.0)
    assert Interval(1.0, 0.0, 3.0) / 2 == Interval(0.5, 0.0, 1.5)


def test_limits_from_a_standard_error_are_those_of_the_values():
    values = [1.0, 2.0, 4.0, 5.0]
    found, expected = interval_of(3.0, stdev(values) / 2, 4), mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_ranks_are_surely_positive_only_where_signs_hardly_fall_so_by_chance():
    assert surely_positive([0.1 * i for i in range(1, 11)], 0.001)  # one way in 1,024
    assert not surely_positive([0.1 * i for i in range(1, 10)], 0.001)
    assert not surely_positive([1.0, -1.1] * 20, 0.05)
    assert not surely_positive([], 0.5)


def test_a_share_keeps_within_its_limits():
    assert share_interval(0, 10).low == 0.0
    assert share_interval(10, 10).high == 1.0
    assert (share_interval(0, 0).low, share_interval(0, 0).high) == (0.0, 1.0)


def test_a_share_has_the_limits_of_wilson():
    for hits, count, confidence in ((0, 7, 0.95), (3, 7, 0.95), (399, 400, 0.9999), (400, 400, 0.99)):
        known = binomtest(hits, count).proportion_ci(confidence, method="wilson")
        found = share_interval(hits, count, confidence)
        assert (found.low, found.high) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("tied", [False, True], ids=["all different", "with ties"])
def test_a_trend_has_the_limits_of_sen(tied):
    values = [round(v) if tied else v for v in noisy(3, slope=0.2)]
    points = blocks(values, 20)
    slope, _, low, high = theilslopes(points, alpha=0.95)
    found = trend(values)
    expected = (slope * (len(points) - 1), low * (len(points) - 1), high * (len(points) - 1))
    assert (found.estimate, found.low, found.high) == pytest.approx(expected)


def test_a_mean_has_the_limits_of_student():
    values = [1.0, 2.5, 2.0, 4.0]
    known = t.interval(0.99, 3, loc=2.375, scale=sem(values))
    found = mean_interval(values, 0.99)
    assert (found.low, found.high) == pytest.approx(known)


def test_classes_are_renamed_one_to_one():
    assert best_renaming({(0, 1): 9, (1, 0): 8, (2, 2): 9, (0, 2): 3}) == {0: 1, 1: 0, 2: 2}
    assert best_renaming({(0, 0): 5, (1, 0): 4, (1, 1): 3}) == {
        0: 0,
        1: 1,
    }
    assert best_renaming({(0, 0): 2, (0, 1): 2, (1, 1): 3}) == {0: 0, 1: 1}
    assert best_renaming({}) == {}


@pytest.mark.parametrize("width", [3, 5])
def test_running_medians_are_those_of_every_window(width):
    values = [4.0, 1.0, 9.0, 2.0, 2.0, 7.0, 5.0, 0.0]
    expected = [median(values[i : i + width]) for i in range(len(values) - width + 1)]
    assert running_medians(values, width) == expected
    assert running_medians(values[: width - 1], width) == []
