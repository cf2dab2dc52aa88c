"""Two trainings part at the first number that differs, in the order in which a step makes them."""

from __future__ import annotations

import math

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.reproduction import compare
from pytest_dlcheck.trace import Matrix, Series


def table(*rows, sites=("first", "last")):
    return Matrix(tuple(range(len(rows))), sites, rows)


SAME = table((1.0, 2.0), (1.0, 2.0))
OTHER = table((1.0, 2.0), (1.5, 2.5))


def trace(**channels):
    given = {"loss": Series((0, 1), (2.0, 1.0)), "gradient_norm": SAME, "activation_rms": SAME}
    return example_trace(**{**given, **channels})


def test_equal_numbers_do_not_part():
    found = compare(trace(), trace())
    assert (found.compared, found.differing, found.first, found.alone) == (10, 0, None, ())


def test_a_step_comes_before_the_order_within_it():
    early = Series((0, 1), (2.5, 1.0))
    first = compare(trace(activation_rms=OTHER, loss=early), trace()).first
    assert (first.step, first.channel, first.site) == (0, "loss", "")


@pytest.mark.parametrize(
    ("channels", "place"),
    [
        ({"activation_rms": OTHER, "gradient_norm": OTHER}, "first"),
        ({"gradient_norm": OTHER}, "last"),
        ({"loss": Series((0, 1), (2.0, 1.1)), "gradient_norm": OTHER}, "loss"),
        ({"batch_fingerprint": Series((0, 1), (1.0, 2.0)), "activation_rms": OTHER}, "data"),
    ],
)
def test_within_a_step_the_earliest_place_is_named(channels, place):
    base = trace(batch_fingerprint=Series((0, 1), (1.0, 1.0)))
    first = compare(trace(**channels), base).first
    assert (first.step, first.place) == (1, place)


def test_the_difference_is_relative_to_the_larger():
    first = compare(trace(gradient_norm=table((1.0, 2.0), (1.0, 4.0))), trace()).first
    assert str(first) == "at step 1, in last (gradient norm), by 0.5 relative"


def test_only_what_both_have_recorded_is_compared():
    longer = Series((0, 1, 2), (2.0, 1.0, 0.5))
    less = table((1.0, None), (1.0, None))
    found = compare(trace(loss=longer, gradient_norm=less), trace(update_norm=OTHER))
    assert (found.compared, found.first) == (8, None)


def test_parameters_of_one_alone_are_named():
    renamed = table((1.0, 2.0), (1.0, 2.0), sites=("first", "head"))
    found = compare(trace(gradient_norm=renamed), trace())
    assert found.first is None
    assert found.alone == (("head", "here"), ("last", "there"))


def test_what_is_not_finite_is_no_difference_of_its_own():
    found = compare(trace(loss=Series((0, 1), (2.0, math.nan))), trace())
    assert found.first is None
