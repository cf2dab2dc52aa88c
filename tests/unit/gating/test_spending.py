"""The looks of a gate share its error, and spend no more than it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pytest_dlcheck.gating.spending import Look, nominal_levels


def spent(levels, first, last):
    """How often sums of normal noise cross any of the bounds, by simulation."""
    rng = np.random.default_rng(0)
    counts = np.arange(1, last + 1)
    z = (rng.normal(size=(200_000, last)).cumsum(1) / np.sqrt(counts))[:, first - 1 :]
    return float((z > norm.isf(levels)).any(1).mean())


@pytest.mark.parametrize(("first", "last"), [(1, 5), (3, 5), (1, 10), (2, 2)])
def test_all_looks_together_err_as_often_as_is_claimed(first, last):
    levels = nominal_levels(first, last, 0.05)
    assert len(levels) == last - first + 1
    assert spent(levels, first, last) == pytest.approx(0.05, abs=0.002)


def test_one_look_has_all_the_risk():
    assert nominal_levels(5, 5, 0.05) == (0.05,)


def test_early_looks_are_stricter_than_late_ones():
    levels = nominal_levels(1, 5, 0.05)
    assert list(levels) == sorted(levels)
    assert levels[0] == pytest.approx(0.05 / 5, rel=5e-3)


def test_hypotheses_that_share_the_risk_are_stricter():
    look = Look(2, 1, 5, 0.05)
    assert look.at(2, among=3) < look.level / 2


def test_a_look_past_the_last_is_as_strict_as_the_last():
    assert Look(9, 1, 5, 0.05).level == nominal_levels(1, 5, 0.05)[-1]
