"""Warm-up and blocks, on a clock that is made up."""

from __future__ import annotations

import itertools
import math

import pytest

from pytest_dlcheck.run.bench.timing import (
    Limits,
    measure,
    relative_spread,
    warm_up,
    whole_cycles,
)
from pytest_dlcheck.run.bench.turns import Turns


def alone(step, clock, limits, count):
    return measure([step], clock, limits, count, Turns())


class Steps:
    """Steps that take what a sequence says, and a clock that knows it."""

    def __init__(self, seconds):
        self._seconds = iter(seconds)
        self.taken = 0

    def __call__(self):
        raise AssertionError("the clock takes the steps")

    def clock(self, step, count):
        assert step is self
        self.taken += count
        return sum(next(self._seconds) for _ in range(count))


def test_warm_up_ends_when_the_steps_have_settled():
    steps = Steps(itertools.chain([1.0, 0.5, 0.3, 0.2, 0.15], itertools.repeat(0.1)))
    warm = warm_up(steps, steps.clock, Limits(warm_up=60))
    assert warm.settled
    assert warm.seconds == pytest.approx(0.1)
    assert 10 <= warm.steps < 30


def test_warm_up_gives_up_on_steps_that_get_faster_and_faster():
    steps = Steps(0.9**n for n in range(100))
    warm = warm_up(steps, steps.clock, Limits(warm_up=5))
    assert warm.spread > 0.1
    assert not warm.settled


def test_noise_about_the_same_time_is_settled_though_it_is_wide():
    steps = Steps(itertools.cycle([0.1, 0.3, 0.2, 0.15, 0.28]))
    warm = warm_up(steps, steps.clock, Limits(warm_up=5))
    assert warm.spread > 0.1
    assert warm.settled
    assert warm.steps * 0.2 < 8


def test_a_first_step_that_compiles_counts_for_nothing():
    steps = Steps(itertools.chain([60.0, 5.0], itertools.repeat(0.1)))
    warm = warm_up(steps, steps.clock, Limits(warm_up=5))
    assert warm.settled
    assert warm.steps == 12


def test_warm_up_of_slow_steps_takes_few():
    steps = Steps(itertools.repeat(4.0))
    warm = warm_up(steps, steps.clock, Limits(warm_up=8))
    assert warm.steps == 5
    assert warm.settled


def test_short_steps_are_timed_in_longer_blocks():
    steps = Steps(itertools.repeat(0.0001))
    warm = warm_up(steps, steps.clock, Limits())
    assert warm.steps > 100


def test_steady_blocks_end_early_and_unsteady_ones_at_the_limit():
    steady, unsteady = Steps(itertools.repeat(0.01)), Steps(itertools.cycle([0.01, 0.02, 0.03]))
    limits = Limits(seconds=3.0)
    assert len(alone(steady, steady.clock, limits, 2)) == 10
    taken = alone(unsteady, unsteady.clock, limits, 1)
    assert 3.0 <= sum(taken) < 3.1


def test_slow_steps_are_timed_a_few_times_whatever_it_takes():
    steps = Steps(itertools.repeat(10.0))
    assert len(alone(steps, steps.clock, Limits(seconds=3.0, fewest=5), 1)) == 5


def test_no_more_blocks_than_may_be_kept():
    steps = Steps(itertools.cycle([1e-6, 3e-6]))
    assert len(alone(steps, steps.clock, Limits(seconds=100, most=50), 1)) == 50


@pytest.mark.parametrize(
    ("wanted", "seconds", "cycle", "count"), [(0.02, 0.01, 1, 2), (0.02, 1.0, 4, 4), (0.02, 0.003, 4, 8)]
)
def test_blocks_are_whole_cycles(wanted, seconds, cycle, count):
    assert whole_cycles(wanted, seconds, cycle) == count


def test_too_few_values_have_no_spread_that_is_known():
    assert relative_spread([1.0, 1.0]) == math.inf
    assert relative_spread([1.0, 1.0, 1.0]) == 0.0


def test_blocks_go_round_the_copies_each_with_steps_that_are_not_counted():
    taken = []
    steps = [lambda: taken.append("one"), lambda: taken.append("other")]

    def clock(step, count):
        for _ in range(count):
            step()
        return 0.1

    measure(steps, clock, Limits(fewest=4, most=4), 16, Turns())
    assert taken == (["one"] * 18 + ["other"] * 18) * 2
