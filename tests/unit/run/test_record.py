"""A record leaves out the steps that a gradient scaler skipped, because they did not take place."""

from __future__ import annotations

from pytest_dlcheck.run.record import Record
from pytest_dlcheck.trace import Matrix, Series


def test_steps_that_did_not_take_place_are_left_out():
    record = Record(
        channels={
            "loss": Series((0, 1, 2), (1.0, float("inf"), 0.5)),
            "gradient_norm": Matrix((0, 1), ("w",), ((float("inf"),), (1.0,))),
        }
    )
    record.forget([0, 1])
    assert record.channels["loss"] == Series((2,), (0.5,))
    assert record.channels["gradient_norm"] == Matrix((), ("w",), ())


def test_what_is_measured_between_steps_outlasts_a_skipped_first_step():
    fixed = Matrix((0, 10), ("batch 0",), ((2.0,), (1.0,)))
    record = Record(channels={"fixed_loss": fixed, "loss": Series((0, 1), (9.0, 2.0))})
    record.forget([0])
    assert record.channels == {"fixed_loss": fixed, "loss": Series((1,), (2.0,))}
