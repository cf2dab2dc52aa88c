"""What is told of losses that fall below any floor, and of those that break otherwise."""

from __future__ import annotations

import math

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.dynamics import floor
from pytest_dlcheck.faults.dynamics.stability_examples import trained
from pytest_dlcheck.trace import Ending, Matrix

NAN = Ending("diverged", 60, "the loss became nan")


def broken(losses):
    """A training whose loss stops being finite after these."""
    return example_trace(**trained((*losses, *(math.nan,) * 4), NAN))


def told(losses):
    fault = floor.without_floor(broken(losses), None)
    return "" if fault is None else fault.cause


STEEP = [0.7 - 0.02 * i for i in range(40)] + [-1.0, -1.5, -2.6, -8.0, -40.0, -900.0]
DEEP = [0.7 - 10 ** (0.3 * i) * (1 + 0.9 * (i % 2)) for i in range(50)]


@pytest.mark.parametrize("losses", [STEEP, DEEP])
def test_a_fall_that_ends_in_nan_is_a_wrong_sign(losses):
    assert "sign of the loss" in told(losses)


@pytest.mark.parametrize(
    "losses",
    [
        [2.3 * 0.98**i for i in range(60)],
        [2.3 - 0.1 * i for i in range(60)],
        [1.0 * 1.5**i for i in range(60)],
        [-5.0 + 0.1 * (i % 3) for i in range(60)],
        [1.0 - 9e4 * (1 - math.exp(-i / 15)) for i in range(80)],
        [1.0, -5.0, -500.0],
    ],
    ids=["loss", "density", "explosion", "flat", "counts", "few"],
)
def test_what_breaks_otherwise_is_left_to_its_own_cause(losses):
    assert told(losses) == ""


def test_a_fall_before_gradients_break_is_told_though_losses_stay_finite():
    trace = example_trace(
        **trained(DEEP), gradient_norm=Matrix((0, 45), ("weight",), ((1.0,), (math.inf,)))
    )
    fault = floor.without_floor(trace, None)
    assert fault is not None
    assert "in 45 steps, then numbers are not finite" in fault.because


def test_a_longer_look_that_breaks_in_its_fall_is_proof_though_no_floor_is_known():
    short = example_trace(**trained(STEEP[:40]))
    _, longer = floor.looks([short, broken(STEEP)], ())
    assert "sign of the loss" in floor.without_floor(short, longer[0]).cause
