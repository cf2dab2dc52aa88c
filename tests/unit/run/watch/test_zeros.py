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


class Scaled(nn.Module):
    """Residual blocks, each with a scale and a last layer."""

    class Block(nn.Module):
        """Adds what it makes of its input, as far as its scale lets it."""

        def __init__(self, *, scale, last):
            super().__init__()
            self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 16)
            self.scale = nn.Parameter(torch.full((1,), scale))
            if last:
                nn.init.zeros_(self.last.weight)
                nn.init.zeros_(self.last.bias)

        def forward(self, x):
            return x + self.scale * self.last(self.first(x).relu())

    def __init__(self, *, scale, last):
        super().__init__()
        self.stem, self.head = nn.Linear(12, 16), nn.Linear(16, 1)
        self.blocks = nn.Sequential(*(self.Block(scale=scale, last=last) for _ in range(2)))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class Adapted(nn.Module):
    """Two matrices of low rank beside a layer."""

    def __init__(self, *zeros):
        super().__init__()
        self.body = nn.Linear(12, 1)
        self.adapter = nn.Sequential(nn.Linear(12, 2, bias=False), nn.Linear(2, 1, bias=False))
        for index in zeros:
            nn.init.zeros_(self.adapter[index].weight)

    def forward(self, x):
        return self.body(x) + self.adapter(x)


def test_a_product_of_two_zeros_has_no_gradient_for_ever():
    (first, *_) = trained(Scaled(scale=0.0, last=True)).failures
    assert first.verdict.check == "gradients_flow"
    assert "blocks.0.scale and blocks.0.last.weight are both initialised to zero" in first.verdict.cause


def test_so_it_is_of_two_matrices():
    (first, *_) = trained(Adapted(0, 1)).failures
    assert "adapter.0.weight and adapter.1.weight are both initialised" in first.verdict.cause


def test_one_zero_is_none():
    for scale, last in ((0.0, False), (1.0, True), (0.1, True)):
        assert not trained(Scaled(scale=scale, last=last)).failures
    assert not trained(Adapted(1)).failures


class TwoHeads(nn.Module):
    """Side by side, both of zeros, and left out of the loss for now."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(12, 8)
        self.say, self.heads = nn.Linear(8, 1), nn.ModuleList(nn.Linear(8, 1) for _ in range(2))
        for head in self.heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x):
        z = self.body(x)
        return self.say(z) + 0 * (self.heads[0](z) + self.heads[1](z)).square()


def test_two_zeros_side_by_side_are_advice():
    run = trained(TwoHeads())
    assert not run.failures
    assert any(
        "heads (ModuleList) has a gradient of exactly 0" in a for v in run.verdicts for a in v.advice
    )
