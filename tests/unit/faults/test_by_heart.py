"""When a small batch counts as learned by heart: not by leaving a bad beginning alone."""

from __future__ import annotations

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.readings import Fit
from pytest_dlcheck.trace import Row, Series


def series(first, rest):
    return Series(tuple(range(31)), (first, *[rest] * 30))


TRAINING = example_trace(loss=series(15.0, 2.8))
GUESSING = {"uninformed_loss": 2.3, "loss_floor": 0.0}
UNKNOWN = {"loss_floor": 0.0}


@pytest.mark.parametrize(
    ("losses", "known", "why_not"),
    [
        (series(15.0, 2.7), UNKNOWN, "hardly learned better than all the data"),
        (series(15.0, 0.9), UNKNOWN, None),
        (series(2.3, 0.9), GUESSING, None),
        (series(2.3, 2.0), GUESSING, "not learned by heart either (0.13 of its way, 0.5 is asked)"),
        (series(9.0, 2.3), {"uninformed_loss": 2.31, "loss_floor": 2.3}, "one output serves"),
    ],
)
def test_a_batch_is_learned_by_heart_beyond_what_the_training_learned(losses, known, why_not):
    fit = Fit.of(example_trace(loss=losses, steps=Row(known)))
    assert fit is not None
    told = fit.why_not_by_heart(0.5, TRAINING)
    assert why_not in told if why_not else not told
