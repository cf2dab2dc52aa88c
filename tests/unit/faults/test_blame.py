"""Of two numbers that make a fault together, the one out of the usual is blamed; and no consequence."""

from __future__ import annotations

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.data.overlap import is_beyond_chance
from pytest_dlcheck.faults.dynamics.decay import forgets
from pytest_dlcheck.faults.loop.clipping import has_nothing_to_clip
from pytest_dlcheck.trace import Row, Series


@pytest.mark.parametrize(
    ("rate", "decay", "blamed"),
    [(30.0, 0.01, "learning rate of 30"), (0.1, 3.0, "weight_decay=3 is too strong")],
)
def test_weight_decay_that_is_usual_is_not_blamed_for_a_rate_that_is_not(rate, decay, blamed):
    fault = forgets(
        example_trace(
            recipe=Row(optimizer="AdamW"),
            parameters=[Row(name="weight", weight_decay=decay, requires_grad=True, optimizers=1)],
            learning_rate=Series(tuple(range(20)), (rate,) * 20),
        ),
        0.05,
    )
    assert fault is not None
    assert blamed in fault.cause


@pytest.mark.parametrize(
    ("row", "nothing"),
    [
        (Row(backwards=20, graphs=4, graphs_without_parameters=4), True),
        (Row(backwards=0, graphs=0, graphs_without_parameters=0), True),
        (Row(backwards=20, graphs=4, graphs_without_parameters=0), False),
        (Row(backwards=20, graphs=0, graphs_without_parameters=0), False),
    ],
)
def test_clipping_is_out_of_place_only_where_there_is_something_to_clip(row, nothing):
    assert has_nothing_to_clip(row) is nothing


@pytest.mark.parametrize(("repeated", "told"), [(0.0, True), (0.01, False)])
def test_two_samples_that_are_shared_are_told_where_nothing_repeats_by_nature(repeated, told):
    row = Row(
        by="content",
        samples=144,
        train_samples=217,
        matches=2,
        repeated=repeated,
        val_repeated=0.0,
        continuous=False,
        distinct=2,
    )
    assert is_beyond_chance(row, 3.0) is told
