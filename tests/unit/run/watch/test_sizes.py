"""Inputs of another scale in evaluations than in training are told; modest shifts are not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch

TRAIN, VAL, Y = torch.randn(96, 6) * 3 + 5, torch.randn(96, 6) * 3 + 5, torch.rand(96, 1)


def advice_of(train, val, sizes=24):
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    with watch() as run:
        for _ in range(5):
            model.train()
            for x, y in zip(train.split(24), Y.split(24), strict=True):
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for x in val.split(sizes):
                    model(x)
    verdict = next(v for v in run.verdicts if v.check == "inputs_keep_their_scale")
    return [advice for advice in verdict.advice if "scaled otherwise" in advice]


@pytest.mark.parametrize("val", [VAL * 255, VAL / 16], ids=["not divided", "divided twice"])
def test_another_scale_is_told(val):
    assert advice_of(TRAIN, val)


@pytest.mark.parametrize("sizes", [24, 1])
@pytest.mark.parametrize(
    "val", [VAL, VAL * 2, VAL * torch.rand(96, 1) * 6], ids=["same", "shifted", "mixed"]
)
def test_modest_shifts_and_mixtures_are_not(val, sizes):
    assert not advice_of(TRAIN, val, sizes)
