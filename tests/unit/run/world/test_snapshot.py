"""A recipe that is built once is put back as its factory left it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe, diagnose
from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.world.snapshot import Snapshot

X, Y = torch.randn(16, 4), torch.randint(2, (16,))


def built():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2))
    model[0].weight.requires_grad_(requires_grad=False)
    model[2].eval()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    generator = torch.Generator().manual_seed(3)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True, generator=generator),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 1),
    )


def state(recipe):
    return (
        {name: t.tolist() for name, t in recipe.model.state_dict().items()},
        [(p.requires_grad, p.grad) for p in recipe.model.parameters()],
        [m.training for m in recipe.model.modules()],
        recipe.model[2].p,
        str(recipe.optimizer.state_dict()),
        str(recipe.scheduler.state_dict()),
        recipe.train_data.generator.get_state().tolist(),
    )


def disturb(recipe):
    for x, y in recipe.train_data:
        recipe.loss(recipe.model(x), y).backward()
        recipe.optimizer.step()
        recipe.scheduler.step()
    recipe.model.requires_grad_(requires_grad=True).train()
    recipe.model[2].p = 0.0


def test_everything_that_training_touches_is_put_back_every_time():
    recipe = built()
    before = state(recipe)
    snapshot = Snapshot(recipe)
    for _ in range(2):
        disturb(recipe)
        assert state(recipe) != before
        assert snapshot.restored() is recipe
        assert state(recipe) == before


def test_what_is_no_recipe_is_handed_back_as_it_is():
    assert Snapshot(3).restored() == 3
    assert Snapshot(None).restored() is None


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, "adam", torch.optim.Adam.step])
def test_what_is_no_optimizer_is_told_as_such(optimizer):
    recipe = Recipe(
        model=nn.Linear(4, 2), train_data=(X, Y), loss=nn.CrossEntropyLoss(), optimizer=optimizer
    )
    (finding, *_) = [finding for finding in diagnose(recipe).findings if finding.fails]
    assert "optimizer= is" in finding.verdict.because


def test_lazy_modules_cannot_be_put_back():
    model = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(RecipeError, match="call it on a batch inside the factory"):
        Snapshot(Recipe(model=model, train_data=[(X, Y)]))


def test_what_shares_memory_shares_it_still():
    model = nn.ModuleDict({"table": nn.Embedding(6, 4), "head": nn.Linear(4, 6)})
    model.head.weight = nn.Parameter(model.table.weight.data)
    recipe = Recipe(
        model=model, train_data=(X, Y), optimizer=torch.optim.SGD(model.parameters(), lr=1.0)
    )
    before = model.head.weight.tolist()
    snapshot = Snapshot(recipe)
    with torch.no_grad():
        model.head.weight.add_(1.0)
    snapshot.restored()
    assert model.head.weight.data_ptr() == model.table.weight.data_ptr()
    assert model.head.weight.tolist() == before
