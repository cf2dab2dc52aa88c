"""A shuffled held-out loader that is left before its end is advised on; one that is read whole, not."""

from __future__ import annotations

import itertools

import pytest

from .faults_of_truncation import _classify, _few, evaluate
from .test_loops import alarms, watched

LEFT = "evaluations leave it after"


def first_batches(count):
    return lambda model, loader: _few(model, loader, count)


def all_at_the_end():
    """Three batches after each epoch, and the whole of it after the last."""
    epochs = itertools.count(1)

    def validate(model, loader):
        _few(model, loader, 100 if next(epochs) == 3 else 2)

    return validate


def told(**options):
    run = watched(lambda: _classify(**options))
    assert alarms(run) == []
    return [advice for verdict in run.verdicts for advice in verdict.advice if LEFT in advice]


def test_other_batches_each_time_are_advised_on():
    (advice,) = told(validate=first_batches(2), batch_size=32, shuffle=True)
    assert advice.startswith("`val_loader` is shuffled, and 3 evaluations leave it after 2 of 6 batches")


@pytest.mark.parametrize(
    "options",
    [
        {"validate": first_batches(2), "batch_size": 32},
        {"validate": first_batches(2), "batch_size": 32, "shuffle": True, "epochs": 1},
        {"validate": first_batches(1), "batch_size": 200, "shuffle": True},
        {"validate": evaluate, "batch_size": 32, "shuffle": True},
        {"validate": all_at_the_end(), "batch_size": 32, "shuffle": True},
    ],
    ids=["in order", "once", "one batch is all", "whole", "whole in the end"],
)
def test_what_can_be_compared_is_not(options):
    assert told(**options) == []
