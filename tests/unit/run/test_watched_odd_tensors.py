"""Tensors that cannot be read as others are do not end the loop that is watched."""

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


def batched(model):
    return torch.func.vmap(model)(torch.randn(4, 8)).mean()


def nested(model):
    rows = torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)])
    return torch.nested.to_padded_tensor(model(rows), 0.0).mean()


def jagged(model):
    rows = [torch.randn(3, 8), torch.randn(5, 8)]
    return model(torch.nested.nested_tensor(rows, layout=torch.jagged)).values().mean()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("loss_of", [batched, nested, jagged])
def test_a_loop_runs_through(loss_of):
    model = nn.Linear(8, 4)
    assert steps_of(model, lambda: loss_of(model)) == 6


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_model_is_trained():
    model = torch.jit.script(nn.Linear(8, 4))
    assert steps_of(model, lambda: model(torch.randn(3, 8)).mean()) == 6


def steps_of(model, loss_of):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch() as run:
        for _ in range(6):
            optimizer.zero_grad()
            loss_of().backward()
            optimizer.step()
    return run.trace.trial.steps
