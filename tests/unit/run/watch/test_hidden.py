"""Modules that a trained model calls and does not hold: layers of it, or what is meant to stay apart."""

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


class Net(nn.Module):
    """A trained layer before and after what a plain list holds."""

    def __init__(self, hidden):
        super().__init__()
        self.stem, self.head, self.hidden = nn.Linear(8, 32), nn.Linear(32, 1), [hidden]

    def forward(self, x):
        return self.head(self.hidden[0](self.stem(x)))


class Ending(Net):
    """The model ends with it."""

    def forward(self, x):
        return self.hidden[0](self.head(self.stem(x)).expand(-1, 32))


class Judged(Net):
    """It judges the output, as a discriminator within a forward that gives the loss."""

    def forward(self, x):
        return self.hidden[0](self.head(self.stem(x)).expand(-1, 32)).mean()


class Distilled(Net):
    """It is a random target beside what is trained: they meet in the loss alone."""

    def forward(self, x):
        return self.head(self.stem(x)) - self.hidden[0](x.repeat(1, 4))


class Reservoir(Net):
    """Data enter it as they are, several times, and a trained layer reads it."""

    def forward(self, x):
        state = torch.zeros(len(x), 32)
        for _ in range(2):
            state = self.hidden[0](state + x.repeat(1, 4)).tanh()
        return self.head(state)


def told(make, *, frozen=False, held=False, like=None):
    """What fails on a short training."""
    torch.manual_seed(0)
    hidden = nn.Linear(32, 32).requires_grad_(not frozen)
    if like is not None:
        nn.init.constant_(hidden.weight, like)
    model = make(hidden)
    own = model.parameters()
    optimizer = torch.optim.SGD([*own, *hidden.parameters()] if held else own, lr=0.01)
    with watch() as run:
        for _ in range(6):
            optimizer.zero_grad()
            model(torch.randn(16, 8)).pow(2).mean().backward()
            optimizer.step()
    return [f.verdict.cause for f in run.failures if f.verdict.check == "optimizer_covers_model"]


@pytest.mark.parametrize("make", [Net, Ending])
def test_untrained_layers_that_no_module_holds_fail(make):
    (cause,) = told(make)
    assert "plain list" in cause


@pytest.mark.parametrize("make", [Judged, Distilled, Reservoir])
def test_what_may_be_meant_to_stay_apart_does_not(make):
    assert told(make) == []


@pytest.mark.parametrize("how", [{"frozen": True}, {"held": True}, {"like": 0.5}])
def test_nor_do_layers_that_are_frozen_or_held_or_no_fresh_draw(how):
    assert told(Net, **how) == []
