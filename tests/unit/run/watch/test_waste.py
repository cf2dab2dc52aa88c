"""Two optimizers whose backward passes reach what the other steps: of two models, and of one."""

import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch

X = torch.randn(64, 4)


def turns(one, other, first, second):
    """Each in turn resets its own gradients, is propagated to, and steps."""
    pairs = [(torch.optim.Adam(own, 1e-3), loss) for own, loss in ((one, first), (other, second))]
    with watch() as run:
        for _ in range(30):
            for optimizer, loss in pairs:
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
    said = [advice for verdict in run.verdicts for advice in verdict.advice]
    return [advice for advice in said if "for nothing" in advice]


def test_a_generator_that_is_not_detached_is_advised_on():
    maker = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
    judge = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def judged():
        made = judge(maker(torch.randn(64, 2)))
        return F.softplus(made).mean() + F.softplus(-judge(X)).mean()

    def made():
        return F.softplus(-judge(maker(torch.randn(64, 2)))).mean()

    assert turns(judge.parameters(), maker.parameters(), judged, made)


def test_parts_of_one_model_that_is_called_as_a_whole_are_not():
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def loss():
        return (model(X) - X.sum(1, keepdim=True)).pow(2).mean()

    assert not turns(model[0].parameters(), model[2].parameters(), loss, loss)
