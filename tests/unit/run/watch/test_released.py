"""What a loop builds and drops, again and again, is freed while the watch goes on."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.models.modes import Drifts

MODELS = 24
"""Models (count): more than are followed."""
LAST = 2
"""Models (count) that may be kept: the one that is trained, and the one before."""


def trained(epochs=2):
    """A model, its optimizer, scheduler and data set, each trained on and scored."""
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    data = TensorDataset(torch.randn(32, 6), torch.randint(0, 3, (32,)))
    loader = DataLoader(data, batch_size=8, shuffle=True)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            for x, _ in loader:
                model(x)
    model.load_state_dict(model.state_dict())
    return [weakref.ref(each) for each in (*model.modules(), optimizer, schedule, data, loader)]


def test_models_optimizers_and_data_are_freed_one_after_the_other():
    with watch():
        dropped = [trained() for _ in range(MODELS)]
        gc.collect()
        alive = [k for k, parts in enumerate(dropped) if any(part() is not None for part in parts)]
    assert len(alive) <= LAST


def test_nothing_is_remembered_of_a_dropped_models_mode():
    drifts, model = Drifts(), nn.Dropout()
    assert drifts.of(model)
    del model
    gc.collect()
    assert not drifts._known  # noqa: SLF001  what grows is asked
