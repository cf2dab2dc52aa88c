"""What is drawn of a channel: small enough, and nothing that stands out is lost."""

from __future__ import annotations

import math

import pytest

from pytest_dlcheck.reports.html.curves import Budget, curve, heat, ratio, shares
from pytest_dlcheck.reports.html.sparks import spark
from pytest_dlcheck.trace import Matrix, Series

WIDE = Budget(points=100, sites=50, steps=50, trials=1, rows=10)
NARROW = Budget(points=10, sites=4, steps=5, trials=1, rows=10)


def series(values):
    return Series(tuple(range(len(values))), tuple(values))


def test_a_short_curve_is_drawn_whole():
    assert curve(series([3.0, 1.0, 2.0]), 10) == {"x": [0, 1, 2], "y": [3.0, 1.0, 2.0]}


def test_a_long_curve_keeps_its_ends_its_peak_and_its_floor():
    values = [math.sin(i / 50) for i in range(10_000)]
    values[4321], values[8765] = 99.0, -99.0
    drawn = curve(series(values), 40)
    assert len(drawn["x"]) <= 42
    assert drawn["x"] == sorted(drawn["x"])
    assert {0, 4321, 8765, 9999} <= set(drawn["x"])


@pytest.mark.parametrize(("value", "told"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_a_number_that_is_not_finite_is_never_thinned_out(value, told):
    values = [1.0] * 5_000
    values[2_718] = value
    drawn = curve(series(values), 20)
    assert told in drawn["y"]
    assert drawn["x"][drawn["y"].index(told)] == 2_718


def test_no_gradient_zero_and_broken_numbers_stay_apart():
    matrix = Matrix((0, 1), ("a", "b"), ((None, 0.0), (0.001, math.nan)))
    drawn = heat(matrix, WIDE)
    assert drawn["sites"] == ["a", "b"]
    assert drawn["z"] == [[None, -300], ["0", "nan"]]


def test_of_many_layers_those_that_stand_out_are_shown():
    sites = tuple(f"layer{n}" for n in range(100))
    rows = tuple(
        tuple(0.0 if n == 37 else None if n == 71 else 1.0 for n in range(100)) for _ in range(9)
    )
    drawn = heat(Matrix(tuple(range(9)), sites, rows), NARROW)
    assert len(drawn["sites"]) <= 4
    assert {"layer37", "layer71"} <= set(drawn["sites"])
    assert drawn["of"] == 100


def test_the_first_step_that_breaks_is_shown():
    rows = tuple((math.inf if step == 61 else 1.0,) for step in range(100))
    drawn = heat(Matrix(tuple(range(100)), ("a",), rows), NARROW)
    assert 61 in drawn["steps"]
    assert "inf" in drawn["z"][0]


def test_a_ratio_is_open_where_either_side_is():
    over = Matrix((0,), ("a", "b", "c"), ((1.0, None, 1.0),))
    under = Matrix((0,), ("a", "b", "c"), ((4.0, 1.0, 0.0),))
    assert ratio(over, under).values == ((0.25, None, None),)
    assert ratio(over, Matrix()).values == ()


def test_shares_are_told_in_thousandths():
    drawn = shares(Matrix((0,), ("a", "b"), ((0.1234, None),)), WIDE)
    assert drawn["z"] == [[123], [None]]


def test_a_spark_breaks_off_where_the_loss_does():
    drawn = spark([1.0, 2.0, math.nan, 1.0, 2.0])
    assert len(drawn.lines) == 2
    assert len(drawn.breaks) == 1


@pytest.mark.parametrize(
    "values", [[math.nan] * 4, [0.0, 0.0], [-1e300, 1e300], [5e-324, 1.0], [1e308] * 3]
)
def test_any_losses_make_a_spark_within_its_box(values):
    for line in spark(values).lines:
        for point in line.split():
            assert -0.1 <= float(point.split(",")[1]) <= 22.1


def test_one_number_makes_no_spark():
    assert spark([1.0]) is None
