"""A step on nothing is told by what stands in the wrong place: zero_grad, or the step itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch


def step_first(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    optimizer.step()
    loss.backward()


def reset_late(model, optimizer, x, y):
    F.cross_entropy(model(x), y).backward()
    optimizer.zero_grad()
    optimizer.step()


def reset_before_the_step_of_the_last_batch(model, optimizer, x, y):
    optimizer.zero_grad()
    optimizer.step()
    F.cross_entropy(model(x), y).backward()


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        (step_first, "call step() after backward"),
        (reset_late, "move zero_grad()"),
        (reset_before_the_step_of_the_last_batch, "move zero_grad()"),
    ],
)
def test_what_is_out_of_place_is_named(body, remedy):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with watch() as run:
        for _ in range(20):
            body(model, optimizer, torch.randn(16, 6), torch.randint(3, (16,)))

    verdict = next(each for each in run.verdicts if each.check == "steps_are_in_order")
    assert verdict.failed
    assert remedy in verdict.remedy
