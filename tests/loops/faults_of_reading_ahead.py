"""Loops that read the next batch while they evaluate other data, and one that never reads another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes
from .faults import fault
from .healthy import mlp


def _ahead(reads):
    rows, target = diabetes()
    target = (target - target.mean()) / target.std()
    loader = DataLoader(TensorDataset(rows[:320], target[:320]), 32, shuffle=True, drop_last=True)
    val_rows, val_target = rows[320:], target[320:]
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    batches = iter(loader)
    batch = next(batches)
    scores = []
    for step in range(1, 161):
        x, y = batch
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        if reads:
            batch = next(batches, None)
            if batch is None:
                batches = iter(loader)
                batch = next(batches)
        if step % 40 == 0:
            model.eval()
            with torch.no_grad():
                scores.append(F.mse_loss(model(val_rows), val_target).item())
            model.train()


def a_batch_ahead():
    _ahead(reads=True)


@fault(a_batch_ahead, "batches_are_fresh", words=("the same batch",))
def one_batch_beside_hand_cut_validations():
    _ahead(reads=False)
