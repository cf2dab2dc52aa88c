"""The first pass serves all who ask the same of it, and nothing of it is kept longer than they need."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.inspection import inspect
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig

ASKED = frozenset({"loss_soundness", "initial_loss", "data_scale", "units", "finite"})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        self.calls_in_training = 0

    def forward(self, x):
        self.calls_in_training += self.training
        return self.body(x)


class Shy(Net):
    """Refuses to run where somebody listens to its functions."""

    def forward(self, x):
        if _get_current_function_mode_stack():
            raise RuntimeError("not before others")
        return super().forward(x)


class Loud(Net):
    def forward(self, x):
        warnings.warn("as it says", UserWarning, stacklevel=1)
        return super().forward(x)


def inspected(model):
    torch.manual_seed(0)
    data = [(torch.randn(8, 3), torch.randint(0, 2, (8,))) for _ in range(2)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    recipe = Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    rig, record = Rig(recipe, "cpu", 0), Record()
    rig.open()
    inspect(rig, record, ASKED)
    return rig, record


def test_one_pass_in_the_modes_of_training_tells_all():
    rig, record = inspected(Net())
    assert rig.model.calls_in_training == 1
    assert record.facts.keys() == ASKED
    value, call = record.facts["loss_soundness"][:2]
    assert (value["reached"], value["flat"], call["site"], call["sign"]) == (4, False, "body.2", 1.0)
    assert [row["site"] for row in record.facts["data_scale"]] == ["body.0"]


def test_its_graph_is_let_go():
    rig, _ = inspected(Net())
    assert rig.first.heard is None


def test_what_does_not_bear_listening_is_inspected_all_the_same():
    _, record = inspected(Shy())
    assert {"data_scale", "finite"} <= record.facts.keys()
    assert {"loss_soundness", "initial_loss", "units"} == record.unobserved.keys()


def test_a_warning_of_the_models_is_not_swallowed():
    with pytest.warns(UserWarning, match="as it says"):
        inspected(Loud())
