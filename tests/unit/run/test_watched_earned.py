"""Weights are known for what a loop calls earned, and for which way they follow it."""

import inspect

import pytest
import torch

from pytest_dlcheck.run.watch.losses import earned as room
from pytest_dlcheck.run.watch.losses.earned import earned

DRAWN = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FALLING = torch.linspace(1, 0, 40, dtype=torch.float64) ** 1.2


def frame_of_the_test():
    frame = inspect.currentframe()
    while frame.f_code.co_name != "told":
        frame = frame.f_back
    return frame


@pytest.fixture(autouse=True)
def the_loop_is_here(monkeypatch):
    """Tests are no part of what is neither torch nor the watch, by their place."""
    monkeypatch.setattr(room, "frame_of_the_loop", frame_of_the_test)


def told(weights, **variables):
    rewards, returns, neg_returns = (variables.get(n) for n in ("rewards", "returns", "neg_returns"))
    found = earned(weights)
    del rewards, returns, neg_returns
    return found


@pytest.mark.parametrize(
    ("weights", "variables", "name", "follows"),
    [
        (DRAWN, {"rewards": DRAWN.tolist()}, "rewards", 1),
        (-2 * DRAWN + 3, {"rewards": DRAWN.numpy()}, "rewards", -1),
        (FALLING - 0.3, {"returns": FALLING}, "returns", 1),
        (FALLING, {"returns": FALLING.flip(0)}, "", 0),
        (-FALLING, {"returns": FALLING}, "", 0),
        (DRAWN, {"rewards": DRAWN[:20]}, "", 0),
        (DRAWN, {"rewards": torch.ones(40)}, "", 0),
        (DRAWN, {"neg_returns": DRAWN}, "", 0),
        (DRAWN + 0.01 * DRAWN.roll(1), {"rewards": DRAWN}, "", 0),
        (DRAWN, {"rewards": ["a"] * 40}, "", 0),
    ],
)
def test_the_way_is_that_of_the_variable(weights, variables, name, follows):
    found, way = told(weights, **variables)
    assert found == name
    assert (way > 0) - (way < 0) == follows
