"""Backward passes that are reset before their step are counted, and told in that number."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch

STEPS = 20


def test_micro_batches_that_are_each_reset_are_told_in_numbers():
    x, y = torch.randn(64, 6), torch.rand(64, 1)
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(STEPS):
            for part in torch.randperm(64).split(32):
                optimizer.zero_grad()
                F.mse_loss(model(x[part]), y[part]).backward()
            optimizer.step()
    verdict = next(v for v in run.verdicts if v.check == "steps_are_in_order")
    told = " ".join([verdict.because, *verdict.advice])
    found = re.search(r"(\d+) of (\d+) backward passes were reset \(zero_grad\) before the step", told)
    assert found is not None
    assert 2 * int(found[1]) == int(found[2]) > 0
