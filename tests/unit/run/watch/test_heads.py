"""A head that is told to get no gradient, and one that another optimizer's loss trains."""

import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch

X = torch.randn(64, 6)


class TwoHeads(nn.Module):
    """Says two things of what it sees."""

    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(6, 16), nn.Linear(16, 1), nn.Linear(16, 3)

    def forward(self, x):
        seen = self.body(x).relu()
        return self.one(seen), self.two(seen)


def said(*, second):
    """Advice where a maker and its judge take turns, and perhaps learn the second head together."""
    maker, judge = nn.Linear(6, 6), TwoHeads()
    makes, judges = (torch.optim.Adam(model.parameters(), 1e-3) for model in (maker, judge))
    both = torch.optim.Adam([*maker.parameters(), *judge.parameters()], 1e-3)
    turns = [
        (makes, lambda: F.mse_loss(judge(maker(X))[0], X[:, :1])),
        (judges, lambda: F.mse_loss(judge(X)[0], X[:, :1])),
        (both, lambda: F.mse_loss(judge(maker(X))[1], X[:, 1:4])),
    ]
    with watch() as run:
        for _ in range(30):
            for optimizer, loss in turns if second else turns[:2]:
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
    assert not run.failures
    return [advice for verdict in run.verdicts for advice in verdict.advice if "no gradient" in advice]


def test_a_head_that_no_loss_uses_is_told():
    told = "two (Linear) receives no gradient: the loss does not use it, or only detached"
    assert said(second=False) == [told]


def test_a_head_that_another_optimizer_trains_is_not():
    assert said(second=True) == []
