"""What a trial changed is told from a fingerprint that opposite moves and swaps do not escape."""

from __future__ import annotations

import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms


class Nudge(torch.optim.Optimizer):
    """Moves the two biases of a binary head by one bit, in opposite directions."""

    def __init__(self, parameter):
        super().__init__([parameter], {})

    @torch.no_grad()
    def step(self):
        (bias,) = self.param_groups[0]["params"]
        bias.view(torch.int32).add_(torch.tensor([1, -1], dtype=torch.int32))


def binary_head():
    model = nn.Linear(3, 2)
    return Recipe(
        model=model,
        train_data=(torch.randn(8, 3), torch.zeros(8, dtype=torch.long)),
        loss=nn.CrossEntropyLoss(),
        optimizer=Nudge(model.bias),
    )


def test_opposite_moves_of_two_elements_are_a_change():
    (trial,) = Terms(steps=1).train()
    trace = run_trial(binary_head, Request(trial, frozenset({"parameters"})))
    changed = {row.text("name"): row.flag("changed") for row in trace.rows("parameters")}
    assert changed == {"weight": False, "bias": True}
