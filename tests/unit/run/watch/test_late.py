"""Whose labels a loss is given is read from how well inputs tell them, where no batch comes again."""

import torch

from pytest_dlcheck.run.watch.losses.late import FEWEST, Late, rows_of


def row(lag, steps=20, skip=()):
    """What is told of a stream whose labels lag behind by so many steps."""
    torch.manual_seed(0)
    seen, shapes, kinds = Late(), torch.randn(4, 8), []
    for step in range(steps):
        kind = torch.randint(4, (64,))
        kinds.append(kind)
        if step not in skip:
            rows = rows_of(2 * shapes[kind] + torch.randn(64, 8))
            seen.add(step, rows, kinds[max(0, step - lag)])
    return seen.row()


def test_own_labels_are_told_by_their_inputs():
    found = row(0)
    assert found["late_own"] > 0.8 * found["late_of"]
    assert found["late_next"] < 0.4 * found["late_of"]


def test_labels_that_lag_are_told_by_the_inputs_before():
    found = row(1)
    assert found["late_next"] > 0.8 * found["late_of"]
    assert found["late_own"] < 0.4 * found["late_of"]


def test_labels_of_two_steps_before_are_told_by_neither():
    found = row(2)
    assert max(found["late_own"], found["late_next"]) < 0.4 * found["late_of"]


def test_steps_that_do_not_follow_each_other_are_no_pairs():
    assert row(1, steps=2 * FEWEST, skip=range(0, 2 * FEWEST, 2)) == {}
    assert row(1, steps=FEWEST) == {}


def test_a_batch_that_comes_again_tells_nothing():
    seen, rows, labels = Late(), torch.randn(64, 8), torch.randint(4, (64,))
    for step in range(20):
        seen.add(step, rows, labels)
    assert seen.row() == {}


def test_large_rows_are_thinned():
    assert rows_of(torch.randn(200, 3, 32, 32)).shape == (96, 64)
