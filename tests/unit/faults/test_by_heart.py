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
    ("losses", "known", "expected"),
    [
        (series(15.0, 2.7), UNKNOWN, False),  # as the whole training, which learned nothing of inputs
        (series(15.0, 0.9), UNKNOWN, True),
        (series(2.3, 0.9), GUESSING, True),
        (series(2.3, 2.0), GUESSING, False),
    ],
)
def test_a_batch_is_learned_by_heart_beyond_what_the_training_learned(losses, known, expected):
    fit = Fit.of(example_trace(loss=losses, steps=Row(known)))
    assert fit is not None
    assert fit.is_by_heart(0.5, TRAINING) is expected
