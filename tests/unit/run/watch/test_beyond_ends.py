"""A target goes beyond an end, or stops there, by the relation of the variables around it."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.watch.losses.beyond_ends import BEYOND, ENDED, ends

ROWS = 24
DRAWS = torch.Generator().manual_seed(2)
REWARD, VALUE = (torch.randn(ROWS, generator=DRAWS) for _ in range(2))
LAST = torch.arange(ROWS) % 5 == 0


def told(target, **variables):
    """What is told in a function that has these variables."""
    said = torch.zeros(ROWS, requires_grad=True)
    near = Near.of_loss(F.mse_loss(said, target).grad_fn)
    given = ", ".join(variables)
    room = {"ask": partial(ends, near, [target])}
    exec(f"def call({given}):\n    return ask()", room)
    return room["call"](**variables)


def bootstrapped(target=None, **variables):
    target = REWARD + 0.9 * VALUE if target is None else target
    return told(target, **{"r": REWARD, "future": VALUE, **variables})


@pytest.mark.parametrize(
    "last",
    [
        LAST,
        LAST.float()[:, None],
        LAST.numpy(),
        tuple(LAST.tolist()),
        list(LAST.float()),
    ],
)
def test_the_mark_may_be_a_tensor_an_array_or_a_list(last):
    assert bootstrapped(b_done=last) == {BEYOND: "b_done"}


def test_a_target_that_stops_is_told_so():
    assert bootstrapped(REWARD + 0.9 * VALUE * ~LAST, done=LAST) == {ENDED: "done"}
    masked = VALUE * ~LAST
    assert told(REWARD + 0.9 * masked, r=REWARD, best=masked, done=LAST) == {ENDED: "done"}


@pytest.mark.parametrize(
    "variables",
    [
        {"not_done": LAST},
        {"action": LAST},
        {"done": torch.zeros(ROWS)},
        {"done": torch.linspace(0, 1, ROWS)},
        {"d": "word", "done": (None,) * ROWS},
    ],
)
def test_other_variables_say_nothing(variables):
    assert bootstrapped(**variables) == {}


def test_other_targets_say_nothing():
    assert bootstrapped(REWARD + 0.1 * VALUE, done=LAST) == {}
    assert bootstrapped(REWARD + VALUE, done=LAST) == {}
    assert bootstrapped(REWARD + 0.9 * VALUE.square(), done=LAST) == {}
