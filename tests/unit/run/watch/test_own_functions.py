"""Autograd Functions of a loop's own are differentiated where the watch ends, and left as they were."""

from __future__ import annotations

import torch
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome


def swish(factor):
    """A Function of its own at every call, whose backward is off by a factor."""

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x.sigmoid()

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            share = x.sigmoid()
            return factor * grad * share * (1 + x * (1 - share))

    return Swish


class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.last, self.act = nn.Linear(4, 8), nn.Linear(8, 1), kind.apply

    def forward(self, x):
        return self.last(self.act(self.first(x)))


def judged(kind, steps=6):
    model = Net(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(16, 4)).pow(2).mean().backward()
            optimizer.step()
    return next(v for v in run.verdicts if v.check == "backward_is_correct")


def test_a_wrong_backward_is_named():
    verdict = judged(swish(0.5))
    assert verdict.failed
    assert "Swish" in verdict.because


def test_a_right_one_passes_and_the_function_is_as_it_was():
    kind = swish(1.0)
    before = vars(kind)["forward"]
    assert judged(kind).outcome is Outcome.PASSED
    assert vars(kind)["forward"] is before


def test_what_was_not_called_again_is_not_judged():
    assert judged(swish(0.5), steps=1).outcome is Outcome.NOT_APPLICABLE


def test_the_loops_own_draws_stay_the_same():
    def drawn(after):
        torch.manual_seed(0)
        after()
        return torch.rand(3)

    torch.manual_seed(0)
    model, x = Net(swish(1.0)), torch.randn(6, 16, 4)

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for batch in x:
            optimizer.zero_grad()
            model(batch).pow(2).mean().backward()
            optimizer.step()

    def watched():
        with watch():
            train()

    assert torch.equal(drawn(train), drawn(watched))
