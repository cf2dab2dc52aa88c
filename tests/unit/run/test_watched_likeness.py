"""Losses that only draw outputs together are told from those that hold something against them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.losses.between import between, mark

WEIGHT = torch.randn(8, 4, requires_grad=True)
FIXED = torch.randn(8, 4)


def seen(loss):
    outputs = [WEIGHT * float(factor) for factor in (2, 3, 5)]
    for place, output in enumerate(outputs):
        mark(output, place)
    return between(loss(*outputs))


def unit(output):
    return F.normalize(output, dim=1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, c: -F.cosine_similarity(a, b).mean() / 2 - F.cosine_similarity(b, c).mean() / 2,
        lambda a, b, _: (2 - 2 * (unit(a) * unit(b)).sum(1)).mean(),
        lambda a, b, _: F.mse_loss(a, b),
        lambda a, b, _: F.pairwise_distance(a, b).pow(2).mean(),
        lambda a, b, _: 0.5 * (a - b).abs().sum(1).mean(),
        lambda a, *_: F.mse_loss(a[:4], a[4:]),
    ],
)
def test_distances_with_gradients_on_both_sides_attract(loss):
    assert seen(loss).attracts


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, _: -F.cosine_similarity(a, b.detach()).mean(),
        lambda a, b, _: (a - b.detach()).square().mean(),
        lambda a, *_: F.mse_loss(a, FIXED),
        lambda a, b, c: F.mse_loss(a, b) + F.mse_loss(c, FIXED),
        lambda a, b, _: F.cosine_similarity(a, b).mean(),
        lambda a, b, c: F.mse_loss(a, b) - F.mse_loss(a, c),
        F.triplet_margin_loss,
        lambda a, b, _: F.cross_entropy(a @ b.T, torch.arange(8)),
        lambda a, b, _: F.mse_loss(a, b) + F.relu(1 - a.std(0)).mean(),
        lambda a, b, _: a.mean() - b.mean(),
        lambda a, b, _: ((a - b).norm(dim=1) - FIXED[:, 0]).square().mean(),
        lambda a, *_: a.square().mean(),
    ],
)
def test_what_is_detached_fixed_or_pushed_apart_does_not(loss):
    assert not seen(loss).attracts


def test_pairs_are_compared_and_single_outputs_are_not():
    assert seen(lambda a, b, _: F.cross_entropy(a @ b.T, torch.arange(8))).compared == {0, 1}
    assert not seen(lambda a, *_: F.cross_entropy(a, torch.arange(8) % 4)).compared


class Siamese(nn.Module):
    """Gives its loss, and nothing else."""

    def __init__(self, *, stops):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
        self.predictor, self.stops = nn.Linear(8, 8), stops

    def forward(self, one, other):
        a, b = self.encoder(one), self.encoder(other)
        p, q = self.predictor(a), self.predictor(b)
        if self.stops:
            a, b = a.detach(), b.detach()
        return -F.cosine_similarity(p, b).mean() / 2 - F.cosine_similarity(q, a).mean() / 2


@pytest.mark.parametrize("stops", [True, False])
def test_outputs_of_parts_are_compared_where_the_model_gives_a_loss(stops):
    model = Siamese(stops=stops)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch() as run:
        for _ in range(33):  # the last of them is looked at
            x = torch.randn(32, 4)
            optimizer.zero_grad()
            model(x, x + 0.1 * torch.randn(32, 4)).backward()
            optimizer.step()
    row = run.trace.row("likeness")
    assert row.integer("attracting") == row.integer("looked")
    assert (row.integer("looked") > 8) is not stops
    hooks = [[*m._forward_hooks, *m._forward_pre_hooks] for m in model.modules()]  # noqa: SLF001
    assert not any(hooks)
