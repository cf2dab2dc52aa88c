"""What data_is_sound says of pairs whose two sides are one and the same sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


def told(*tensors, named=False):
    def recipe():
        model = nn.Linear(8, 4)

        def step(model, batch):
            return sum(model(part.float()[:, :8]).square().mean() for part in parts(batch))

        def parts(batch):
            return list(batch.values()) if named else list(batch)

        data = TensorDataset(*tensors)
        if named:
            data = [{name: t[i] for name, t in zip("abc", tensors, strict=False)} for i in range(64)]
        return Recipe(model=model, train_data=DataLoader(data, 16), training_step=step)

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("data_is_sound",))
    verdict = Examination(subject).judge("data_is_sound", recipe)
    assert verdict.outcome is Outcome.PASSED
    return [line for line in verdict.advice if "twice the same" in line]


X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
IDS = (X.abs() * 9).long()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("given", [X, IDS], ids=["numbers", "words"])
def test_an_anchor_that_is_its_own_positive_is_told(given, named):
    (line,) = told(given, given.clone(), given.roll(1, 0), named=named)
    assert "equals" in line


SOUND = {
    "another sample": (X, X.roll(1, 0), X.roll(2, 0)),
    "some pairs alike": (X, X.where((torch.arange(64) % 2 == 0)[:, None], X.roll(1, 0)), X.flip(0)),
    "two masks": (X, (X > 0).long(), (X > 0).long()),
    "two constants": (X, torch.arange(8).expand(64, 8), torch.arange(8).expand(64, 8).clone()),
}


@pytest.mark.parametrize("name", SOUND)
def test_inputs_that_differ_or_are_no_samples_are_silent(name):
    assert not told(*SOUND[name])
