"""By how much two tensors differ: finite ones, and those that hold what is not."""

from __future__ import annotations

import math

import pytest
import torch

from pytest_dlcheck.run.tensors.compare import relative_change

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("one", "other", "change"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([2.0, INF], [2.0, INF], 0.0),
        ([2.0, NAN], [2.0, NAN], 0.0),
        ([2.0, NAN], [2.0, 1.0], 0.5),
        ([2.0, INF], [1.0, INF], 0.5),
        ([INF], [-INF], 1.0),
    ],
)
def test_relative_to_the_largest_finite_number_of_either(one, other, change):
    assert relative_change(torch.tensor(one), torch.tensor(other)) == pytest.approx(change)


def test_complex_numbers_differ_by_their_distance():
    assert relative_change(torch.tensor([3 + 4j]), torch.tensor([3 - 4j])) == pytest.approx(8 / 5)


def test_other_shapes_differ_wholly_and_nothing_does_not():
    assert relative_change(torch.ones(2), torch.ones(3)) == 1.0
    assert relative_change(torch.ones(0), torch.ones(0)) == 0.0
