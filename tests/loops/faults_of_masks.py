"""Losses over readings with gaps, whose mask comes before their mean or after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault
from .healthy import mlp


def _filled(loss, passes=3):
    images, _ = digits()
    rows = images[:960].flatten(1)
    observed = (torch.rand(rows.shape, generator=torch.Generator().manual_seed(0)) > 0.3).float()
    loader = DataLoader(TensorDataset(rows * observed, observed), 32, shuffle=True)
    model = mlp(64, 64, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(passes):
        for x, mask in loader:
            hidden = x * (torch.rand_like(x) > 0.2)
            optimizer.zero_grad()
            loss(model(hidden), x, mask).backward()
            optimizer.step()


def masked_before_the_mean():
    _filled(lambda out, x, mask: (F.mse_loss(out, x, reduction="none") * mask).sum() / mask.sum())


def mean_beside_a_masked_penalty():
    _filled(
        lambda out, x, mask: ((out - x) ** 2 * mask).sum() / mask.sum() + 0.01 * F.mse_loss(out, x) * 2
    )


@fault(masked_before_the_mean, "targets_are_aligned", words=("before its mask",))
def masked_after_the_mean():
    _filled(lambda out, x, mask: (F.mse_loss(out, x) * mask).sum() / mask.sum())


@fault(mean_beside_a_masked_penalty, "targets_are_aligned", words=("before its mask",))
def masked_after_a_mean_written_out():
    _filled(lambda out, x, mask: (((out - x) ** 2).mean() * mask).mean())


QUIET = [mean_beside_a_masked_penalty]
"""It may raise no alarm."""
