"""Two commits side by side: ratios and differences with intervals, and what cannot be compared."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from pytest_dlcheck.store.comparison import compared
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.records import Point, Series
from pytest_dlcheck.verdict import Measure, Outcome
from tests.store_kit import HERE, THERE, run

SPEED = Series("t.py::cnn", "throughput", "throughput", "samples/s", HERE)
SCORE = Series("t.py::cnn", "accuracy", "accuracy", "ratio", HERE)


def _points(series, *values, samples=()):
    return {
        series: [
            Point(run(f"r{i}"), Outcome.PASSED, Measure(series.measure, v, series.unit, samples=samples))
            for i, v in enumerate(values)
        ]
    }


def test_a_speed_is_compared_as_a_ratio_with_its_interval():
    (pair,), left_out = compared(_points(SPEED, 100.0, 102.0, 98.0), _points(SPEED, 89.0, 90.0, 91.0))
    assert pair.is_ratio
    assert pair.estimate == pytest.approx(0.9, abs=0.001)
    assert pair.low < 0.9 < pair.high < 1
    assert pair.basis == "3 and 3 runs"
    assert left_out == ()


def test_the_interval_is_that_of_welch():
    before, after = (0.90, 0.92, 0.94), (0.95, 0.96)
    (pair,), _ = compared(_points(SCORE, *before), _points(SCORE, *after))
    known = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    assert (pair.low, pair.high) == pytest.approx((known.low, known.high))
    assert pair.estimate == pytest.approx(0.035)


def test_an_accuracy_is_compared_as_a_difference():
    (pair,), _ = compared(_points(SCORE, 0.95, 0.95), _points(SCORE, 0.93, 0.93))
    assert not pair.is_ratio
    assert (pair.low, pair.estimate, pair.high) == pytest.approx((-0.02, -0.02, -0.02))


def test_of_single_runs_the_samples_make_the_interval():
    (pair,), _ = compared(
        _points(SPEED, 100.0, samples=(99.0, 101.0)), _points(SPEED, 100.0, samples=(98.0, 102.0))
    )
    assert pair.basis == "2 and 2 samples of single runs"
    assert pair.low < 1 < pair.high


def test_single_numbers_have_no_interval_and_that_is_said():
    (pair,), _ = compared(_points(SPEED, 100.0), _points(SPEED, 50.0))
    assert pair.estimate == pytest.approx(0.5)
    assert math.isnan(pair.low)
    assert pair.basis == "single measurements: no interval"


def test_numbers_that_are_not_finite_show_nothing():
    (pair,), _ = compared(_points(SCORE, 0.9, 0.9), _points(SCORE, math.nan, 0.9))
    assert math.isnan(pair.estimate)
    assert math.isnan(pair.low)


def test_machines_of_different_kinds_are_not_compared():
    elsewhere = Series(SPEED.recipe, SPEED.check, SPEED.measure, SPEED.unit, THERE)
    pairs, (line,) = compared(_points(SPEED, 1.0), _points(elsewhere, 1.0))
    assert pairs == ()
    assert line.startswith("cnn throughput: measured on machines of different kinds (cpu ")


def test_what_only_one_side_measured_is_named():
    other = Series("t.py::rnn", "throughput", "throughput", "samples/s", Machine())
    pairs, lines = compared(_points(SPEED, 1.0), _points(other, 1.0))
    assert pairs == ()
    assert sorted(lines) == [
        "cnn throughput: measured on the first side only",
        "rnn throughput: measured on the second side only",
    ]
