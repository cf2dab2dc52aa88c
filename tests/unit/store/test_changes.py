"""Change points: planted ones are found, noise is none, and the newest points never are."""

from __future__ import annotations

import math
import random

import pytest

from pytest_dlcheck.store.changes import EDGE, changes


def _series(count=50, noise=0.01, seed=0, level=5000.0):
    draw = random.Random(seed)
    return [level * draw.gauss(1, noise) for _ in range(count)]


def _slower(values, at, by):
    return [*values[:at], *(value * (1 - by) for value in values[at:])]


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slowdown_is_found_at_its_run_with_its_size(seed):
    (change,) = changes(_slower(_series(seed=seed), 30, 0.05))
    assert change.index == 30
    assert change.after / change.before == pytest.approx(0.95, abs=0.01)


def test_two_levels_up_and_down_are_told_apart():
    values = _slower(_slower(_series(60), 20, 0.1), 40, -0.1 / 0.9)
    assert [change.index for change in changes(values)] == [20, 40]


def test_quiet_series_have_none():
    found = [changes(_series(seed=seed)) for seed in range(50)]
    assert sum(map(bool, found)) <= 1


def test_one_slow_run_is_no_new_level():
    values = _series()
    values[25] /= 2
    assert changes(values) == ()


def test_a_change_at_the_edge_waits_for_more_runs():
    values = _slower(_series(), 50 - EDGE + 1, 0.2)
    assert all(change.index <= 50 - EDGE for change in changes(values))
    assert changes(values[: 2 * EDGE - 1]) == ()


def test_numbers_that_repeat_exactly_have_noise_all_the_same():
    assert changes([0.95] * 30) == ()
    assert [c.index for c in changes([0.95] * 15 + [0.9] * 15)] == [15]
    assert changes([0.95] * 15 + [0.9499] * 15) == ()


def test_what_is_not_finite_is_passed_over_and_the_places_stay():
    values = _slower(_series(), 30, 0.1)
    values[3] = math.nan
    values[10] = math.inf
    assert [change.index for change in changes(values)] == [30]
    assert changes([math.nan] * 30) == ()


def test_what_can_be_negative_is_compared_by_differences():
    draw = random.Random(0)
    values = [draw.gauss(-1, 0.1) for _ in range(25)] + [draw.gauss(1, 0.1) for _ in range(25)]
    (change,) = changes(values)
    assert change.index == 25
    assert change.size == f"{change.after - change.before:+.3g}"


def test_sizes_are_said_as_shares_where_there_are_any():
    (change,) = changes([100.0] * 10 + [90.0] * 10)
    assert change.size == "-10.0 %"


def test_a_long_series_is_looked_at_from_its_end():
    values = _slower(_series(5000), 4000, 0.1)
    assert [change.index for change in changes(values)] == [4000]
