"""What is evaluated has a name by the variables that hold it; and rows that were not looked at count."""

import inspect
from types import SimpleNamespace

import pytest
import torch

from pytest_dlcheck.run.watch.batches.parts import part_of
from pytest_dlcheck.run.watch.batches.seen import among

ROWS = torch.randn(40, 6)


def named(given, **variables):
    code = "def call(ask, {}):\n    return ask()".format(", ".join(variables))
    room = {}
    exec(code, room)
    return room["call"](lambda: part_of(inspect.currentframe(), (given,), None), **variables)


@pytest.mark.parametrize("name", ["x_test", "val_rows", "X_train", "heldout"])
def test_a_tensor_and_its_slices_have_its_name(name):
    given = ROWS.clone()
    assert named(given, **{name: given}) == name
    assert named(given[8:16], **{name: given}) == name


def test_rows_beside_it_have_not():
    assert named(ROWS[20:], x_test=ROWS[:20]) == ""
    assert named(ROWS[:20], x_test=ROWS[:20].clone()) == ""


def test_two_parts_that_share_rows_are_none():
    assert named(ROWS[20:], x_test=ROWS[20:], train_rows=ROWS) == ""


def test_points_of_a_grid_are_no_part():
    given = torch.randn(40, 3)
    assert named(given, x_test=given) == ""


def test_what_has_no_memory_has_no_name_but_its_own():
    given = torch.empty(8, 6, device="meta")
    assert named(given, x_test=ROWS) == ""
    assert torch.func.vmap(lambda row: torch.tensor(float(named(row, x_test=ROWS) == "")))(
        torch.randn(3, 8, 6)
    ).all()


def seen(values, rows):
    return SimpleNamespace(values=lambda: values, rows=rows)


def test_the_first_rows_of_a_batch_stand_for_all():
    trained = set(map(float, range(100)))
    assert among(trained, [seen([0.0, 1.0, 2.0, 3.0], 80)]) == 80
    assert among(trained, [seen([0.0, 1.0, 2.0, 3.0], 4)]) == 4
    assert among(trained, [seen([0.0, 1.0, 200.0, 300.0], 80)]) == 40
    assert among(trained, [seen([0.0, 1.0], 800)]) == 100
