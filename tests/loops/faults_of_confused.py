"""Two networks and two optimizers over the first of them, beside loops with two optimizers in turn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes
from .faults import fault
from .healthy import mlp


def _pair_of_regressors(held):
    rows, target = diabetes()
    loader = DataLoader(TensorDataset(rows, target), 32, shuffle=True)
    nets = [mlp(10, 64, 1), mlp(10, 64, 1)]
    optimizers = [torch.optim.Adam(nets[index].parameters(), lr=3e-3) for index in held]
    for _ in range(10):
        for x, y in loader:
            for net, optimizer, bound in zip(nets, optimizers, (0.2, 0.8), strict=True):
                error = y - net(x)
                optimizer.zero_grad()
                torch.maximum(bound * error, (bound - 1) * error).mean().backward()
                optimizer.step()


def two_quantiles():
    _pair_of_regressors((0, 1))


@fault(two_quantiles, "optimizer_covers_model", words=("in no optimizer",))
def two_optimizers_over_one_of_two_networks():
    _pair_of_regressors((0, 0))


def two_optimizers_in_turn_beside_a_trained_network():
    rows, target = diabetes()
    loader = DataLoader(TensorDataset(rows, target), 32, shuffle=True)
    judge, net = mlp(10, 64, 1), mlp(10, 64, 1)
    first = torch.optim.Adam(judge.parameters(), lr=1e-2)
    for _ in range(12):
        for x, y in loader:
            first.zero_grad()
            F.mse_loss(judge(x), y).backward()
            first.step()
    del first
    turns = [torch.optim.Adam(net.parameters(), lr=3e-3), torch.optim.SGD(net.parameters(), lr=1e-3)]
    for _ in range(10):
        for i, (x, y) in enumerate(loader):
            moved = x.clone().requires_grad_()
            F.mse_loss(judge(moved), y).backward()
            harder = (moved + 0.05 * moved.grad.sign()).detach()
            turns[i % 2].zero_grad()
            F.mse_loss(net(harder), y).backward()
            turns[i % 2].step()


QUIET = [two_optimizers_in_turn_beside_a_trained_network]
"""None of them may raise an alarm."""
