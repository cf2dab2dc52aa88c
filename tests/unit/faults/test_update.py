"""What is said of steps that are unusual and yet no fault."""

from __future__ import annotations

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.dynamics.update import oddities
from pytest_dlcheck.trace import Matrix, Row, Series

LAYERS = ("first", "second", "third")


def told_of(optimizer):
    """The third layer begins near zero and moves by twice its size a step."""
    trace = example_trace(
        loss=Series((0, 1, 2, 3), (2.0, 1.5, 1.0, 0.5)),
        learning_rate=Series((0, 1), (0.8, 0.8)),
        update_norm=Matrix((0, 1), LAYERS, ((0.1, 0.1, 0.02),) * 2),
        parameter_norm=Matrix((0, 1), LAYERS, ((10.0, 10.0, 0.01),) * 2),
        gradient_norm=Matrix((0, 1), LAYERS, ((1.0, 1.0, 1.0),) * 2),
        parameters=tuple(
            Row(name=name, shape="(8, 8)", requires_grad=True, optimizers=1, weight_decay=0.0)
            for name in LAYERS
        ),
        recipe=Row(optimizer=optimizer),
    )
    return [line for line in oddities(trace, 1e-5, 1.0) if "far beyond the rest" in line]


@pytest.mark.parametrize(("optimizer", "count"), [("SGD", 1), ("LBFGS", 0)])
def test_a_step_of_many_evaluations_may_go_far(optimizer, count):
    assert len(told_of(optimizer)) == count


def small_steps(moves, decay=0.0):
    """Three layers of one size, each of which moves so far in every step."""
    trace = example_trace(
        loss=Series((0, 1, 2, 3), (2.0, 1.5, 1.0, 0.5)),
        learning_rate=Series((0, 1), (0.01, 0.01)),
        update_norm=Matrix((0, 1), LAYERS, (moves,) * 2),
        parameter_norm=Matrix((0, 1), LAYERS, ((1.0, 1.0, 1.0),) * 2),
        gradient_norm=Matrix((0, 1), LAYERS, ((1.0, 1.0, 1.0),) * 2),
        parameters=tuple(
            Row(name=name, shape="(8, 8)", requires_grad=True, optimizers=1, weight_decay=decay)
            for name in LAYERS
        ),
        recipe=Row(optimizer="AdamW"),
    )
    return [line for line in oddities(trace, 1e-6, 1.0) if "steps are small" in line]


def test_steps_are_small_where_no_layer_moves_further():
    assert len(small_steps((1e-7, 1e-8, 1e-8))) == 1
    assert small_steps((1e-3, 1e-8, 1e-8)) == []


def test_a_layer_whose_decay_is_not_known_moves_all_the_same():
    assert small_steps((1e-3, 1e-3, 1e-3), decay=None) == []
