"""Gradients of exactly zero in a watched loop: blocked from the start, or of what is not used yet."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

ROWS = torch.randn(192, 12, generator=torch.Generator().manual_seed(2))


def trained(model, steps=2):
    data = TensorDataset(ROWS, ROWS[:, :1].sign())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with watch() as run:
        for _ in range(steps):
            for x, y in DataLoader(data, 16, shuffle=True):
                optimizer.zero_grad()
                (model(x) - y).pow(2).mean().backward()
                optimizer.step()
    return run


def net(*zeros):
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    for index in zeros:
        nn.init.zeros_(model[index].weight)
        nn.init.zeros_(model[index].bias)
    return model


def test_weights_of_zero_are_the_cause():
    (first, *_) = trained(net(0, 2, 4)).failures
    assert first.verdict.check == "gradients_flow"
    assert "initialised to zero" in first.verdict.cause


def zeroed(gradient):
    return gradient * 0


def test_gradients_that_are_set_to_zero_on_purpose_are_advice():
    model = net()
    for parameter in (*model[0].parameters(), *model[2].parameters()):
        parameter.register_hook(zeroed)
    run = trained(model)
    assert not run.failures
    assert any("a gradient of exactly 0" in a for v in run.verdicts for a in v.advice)


def test_another_cause_is_told_before_weights_of_zero():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.adapter = net(), nn.Linear(12, 12)
            nn.init.zeros_(self.adapter.weight)

        def forward(self, x):
            with torch.no_grad():
                shift = self.adapter(x)
            return self.body(x + shift)

    (first, *_) = trained(Adapted()).failures
    assert "called under torch.no_grad()" in first.verdict.cause


def test_a_last_layer_of_zeros_is_none():
    assert not trained(net(4)).failures


class Gated(nn.Module):
    """A branch whose gate never opens."""

    def __init__(self):
        super().__init__()
        self.body, self.branch = nn.Linear(12, 1), nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 1))

    def forward(self, x):
        return self.body(x) + 0 * self.branch(x)


def test_a_branch_that_is_multiplied_by_zero_is_advice():
    run = trained(Gated())
    assert not run.failures
    assert any(
        "branch (Sequential) has a gradient of exactly 0" in a for v in run.verdicts for a in v.advice
    )
