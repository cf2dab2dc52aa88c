"""``diagnose``: a recipe or a model at hand, without pytest, left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe, diagnose
from pytest_dlcheck.check import UnknownCheckError
from pytest_dlcheck.recipe import RecipeError, recipe

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
FEW = ["optimizer_covers_model", "loss_decreases", "gradients_flow"]


class Net(nn.Module):
    def __init__(self, *, cut=False):
        super().__init__()
        self.cut = cut
        self.encoder, self.norm, self.head = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x):
        hidden = torch.relu(self.norm(self.encoder(x)))
        return self.head(hidden.detach() if self.cut else hidden)


def state(model, optimizer):
    return [
        [(name, t.clone().tolist()) for name, t in model.state_dict().items()],
        [(p.grad, p.requires_grad) for p in model.parameters()],
        [m.training for m in model.modules()],
        str(optimizer.state_dict()),
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("cut", [False, True])
def test_a_model_at_hand_is_diagnosed_and_left_as_it_was(cut):
    model = Net(cut=cut)
    model.head.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    before = state(model, optimizer)

    report = diagnose(
        model, (X, Y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, steps=10, select=FEW
    )

    assert state(model, optimizer) == before
    assert report.ok == (not cut)
    assert {v.check for v in report.verdicts} == set(FEW)
    if cut:
        assert "encoder" in str(report)


def test_an_interrupted_diagnosis_leaves_the_model_too():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) > 12:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(outputs, targets)

    before = state(model, optimizer)
    with pytest.raises(KeyboardInterrupt):
        diagnose(model, (X, Y), loss=loss, optimizer=optimizer, steps=30, select=["loss_decreases"])
    assert len(calls) > 12
    assert state(model, optimizer) == before


def test_a_factory_is_built_for_every_trial():
    built = []

    @recipe
    def mine():
        built.append(1)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters())
        return Recipe(model=net, train_data=(X, Y), loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    report = diagnose(mine, steps=3, select=["optimizer_covers_model", "gradients_flow"])
    assert len(built) == len({f.name for finding in report.findings for f in finding.trials})
    assert str(report).startswith("mine::")


def test_a_recipe_that_cannot_run_is_reported_and_not_ok():
    report = diagnose(lambda: None, select=FEW)
    assert not report.ok
    assert "the factory returned None, not a Recipe" in str(report)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((3,), RecipeError, "takes a recipe or a model, not a int"),
        ((nn.Linear(2, 2),), RecipeError, "a model needs a batch"),
    ],
)
def test_what_cannot_be_diagnosed_is_said(arguments, error, said):
    with pytest.raises(error, match=said):
        diagnose(*arguments)


def test_one_error_is_told_once():
    text = str(diagnose(lambda: None, select=FEW))
    assert text.count("the factory returned None") == 1
    assert "so that 3 checks could not judge" in text


def test_a_recipe_that_wants_arguments_is_said():
    def mine(folder, *, width, depth=2):
        raise AssertionError

    with pytest.raises(RecipeError, match="recipe mine takes folder, width, which only pytest can"):
        diagnose(mine)


def test_the_recipes_own_marker_is_policy():
    reason = "wait for #41"

    @pytest.mark.dlcheck(steps=7, select=FEW, ignore={"contract": reason}, expected={FEW[2]: reason})
    def mine():
        net = Net(cut=True)
        optimizer = torch.optim.Adam(net.parameters())
        return Recipe(model=net, train_data=(X, Y), loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    report = diagnose(mine)
    assert {v.check for v in report.verdicts} == set(FEW[1:])
    assert report.ok
    assert any("(7 steps)" in trial.name for finding in report.findings for trial in finding.trials)


def test_an_unknown_check_is_said():
    with pytest.raises(UnknownCheckError, match="did you mean 'loss_decreases'"):
        diagnose(lambda: None, select=["loss_decrease"])


def test_a_device_that_is_not_there_is_said():
    report = diagnose(lambda: None, select=FEW, device="cuda:99")
    assert not report.ok
    assert "device 'cuda:99' is not there" in str(report)
