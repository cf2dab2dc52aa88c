"""Running statistics that the fixed batches tell are those that passing the batches would give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.modules.running import Statistics
from pytest_dlcheck.run.passes.evaluation import recalibrated
from pytest_dlcheck.run.passes.fixed_batches import FixedBatches
from pytest_dlcheck.run.passes.reached import Reached
from pytest_dlcheck.run.rig import Rig


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.norm(2 * self.norm(x) + 1))


MODELS = {
    "rows": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)), (4,)),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
        ),
        (1, 6, 6),
    ),
    "one norm twice": (Twice, (4,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_known_statistics_are_those_of_a_pass(name):
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model = build()
    data = [(torch.randn(8, *shape) + 1, torch.randint(0, 2, (8,))) for _ in range(6)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    rig = Rig(
        Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer), "cpu", 0
    )
    rig.open()
    reached, training = Reached.of(rig), frozenset(n for n, _ in model.named_modules())
    known = {n: Statistics.average(one.statistics) for n, one in reached.at_the_end().items()}
    held = []
    for given in ({}, known):
        with rig.undisturbed(), recalibrated(rig, FixedBatches.of(rig).batches, training, given):
            held.append({n: b.clone() for n, b in model.named_buffers() if "running" in n})
    assert held[0].keys() == held[1].keys()
    for buffer, passed in held[0].items():
        torch.testing.assert_close(held[1][buffer], passed)
