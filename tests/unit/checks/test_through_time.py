"""Recipes whose steps of time are cut from each other are told; those cut elsewhere are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

from .conftest import examination

WIDTH, STEPS = 8, 6


class Unrolled(nn.Module):
    """Runs a cell over time, and hands its state on in some way."""

    def __init__(self, cell, hands_on):
        super().__init__()
        self.cell, self.head, self.hands_on = cell, nn.Linear(WIDTH, 3), hands_on

    def forward(self, x):
        zeros = x.new_zeros(len(x), WIDTH)
        state = (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros
        for number, step in enumerate(x.unbind(1)):
            state = self.cell(step, self.hands_on(state, number))
        return self.head(state[0] if isinstance(state, tuple) else state)


class Own(nn.Module):
    """A cell of one's own."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x, state):
        return self.both(torch.cat([x, state], 1)).tanh()


def whole(state, _):
    return state


def cut(state, _):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def half(state, _):
    return state[0].detach(), state[1]


def once(state, number):
    return state.detach() if number == STEPS - 1 else state


def verdict_on(cell, hands_on):
    def build():
        data = [(torch.randn(16, STEPS, WIDTH), torch.randint(0, 3, (16,)))]
        model = Unrolled(cell, hands_on)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    return examination(build, ("gradients_flow",)).judge("gradients_flow", build)


@pytest.mark.parametrize("cell", [nn.GRUCell(WIDTH, WIDTH), nn.LSTMCell(WIDTH, WIDTH), Own()])
def test_a_state_without_its_graph_at_every_step_fails(cell):
    verdict = verdict_on(cell, cut)
    assert verdict.failed
    assert verdict.sites == ("cell",)
    assert "nothing is propagated through time" in verdict.cause


@pytest.mark.parametrize(
    ("cell", "hands_on"),
    [(nn.GRUCell, whole), (nn.LSTMCell, whole), (nn.LSTMCell, half), (nn.GRUCell, once)],
)
def test_steps_that_reach_those_before_them_pass(cell, hands_on):
    assert verdict_on(cell(WIDTH, WIDTH), hands_on).outcome is Outcome.PASSED
