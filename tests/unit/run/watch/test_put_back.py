"""Steps that are undone are told from steps that move nothing, and from a later restore."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome


def watched(after_step=lambda model, first: None, at_end=lambda model, first: None, steps=30):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = copy.deepcopy(model.state_dict())
    with watch() as run:
        for _ in range(steps):
            x, y = torch.randn(16, 6), torch.randint(3, (16,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            after_step(model, first)
        at_end(model, first)
    return next(verdict for verdict in run.verdicts if verdict.check == "parameters_update")


def load(model, first):
    model.load_state_dict(first)


def write(model, first):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(first[name])


def load_a_part(model, first):
    model[0].load_state_dict({name[2:]: value for name, value in first.items() if name[0] == "0"})


@pytest.mark.parametrize(
    ("undo", "sites", "remedy"),
    [
        (load, {"0.weight", "0.bias", "2.weight", "2.bias"}, "load the first weights once"),
        (write, {"0.weight", "0.bias", "2.weight", "2.bias"}, "look for what writes"),
        (load_a_part, {"0.weight", "0.bias"}, "load the first weights once"),
    ],
    ids=["loaded", "written", "a part"],
)
def test_steps_that_are_undone_are_told(undo, sites, remedy):
    verdict = watched(after_step=undo)

    assert verdict.failed
    assert set(verdict.sites) == sites
    assert "put back before the next" in verdict.cause
    assert remedy in verdict.remedy


@pytest.mark.parametrize("restore", [load, write])
def test_weights_that_are_put_back_at_the_end_are_no_fault(restore):
    """As after a search for a learning rate."""
    assert watched(at_end=restore).outcome is Outcome.INCONCLUSIVE


def test_a_part_that_is_put_back_at_the_end_is_no_fault():
    assert watched(at_end=load_a_part).outcome is Outcome.PASSED
