"""A copy of a trained model has its batch norms' statistics too, or still those of the beginning."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from pytest_dlcheck import watch


def net(norm=nn.BatchNorm1d):
    return nn.Sequential(nn.Linear(4, 8), norm(8), nn.ReLU(), nn.Linear(8, 1))


def parameters_alone(average, model):
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 0.1)


def buffers_too(average, model):
    parameters_alone(average, model)
    for a, b in zip(average.buffers(), model.buffers(), strict=True):
        a.copy_(b)


def told(follow, model=None, before_validation=None, *, norms_train=True):
    """What is told of a loop that validates a copy of its model, twice."""
    model = model or net()
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = DataLoader(torch.randn(160, 4) + 2, 16)
    with watch() as run:
        for _ in range(2):
            model.train()
            if not norms_train:
                model[1].eval()
            for x in data:
                optimizer.zero_grad()
                model(x).pow(2).mean().backward()
                optimizer.step()
                with torch.no_grad():
                    follow(average, model)
            if before_validation is not None:
                before_validation(data, average)
            average.eval()
            with torch.no_grad():
                for x in data:
                    average(x)
    return [f.verdict.cause for f in run.failures if f.verdict.check == "validated_model_is_trained"]


def test_an_average_of_parameters_alone_is_told():
    (cause,) = told(parameters_alone)
    assert "initial statistics" in cause


@pytest.mark.parametrize(
    "arrangement",
    [
        {"follow": buffers_too},
        {"follow": parameters_alone, "before_validation": update_bn},
        {"follow": parameters_alone, "norms_train": False},
        {"follow": parameters_alone, "model": net(nn.LayerNorm)},
    ],
    ids=["buffers follow", "update_bn", "norms that never train", "layer norm"],
)
def test_others_are_not(arrangement):
    assert told(**arrangement) == []
