"""Batches held fixed pass once for all who look on, and leave nothing behind."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.passes.fixed_batches import BATCHES, FixedBatches
from pytest_dlcheck.run.rig import Rig


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.body(x)


class Look:
    """Counts what it is told; raises in the forward if it is told to."""

    def __init__(self, model, error=None):
        self.model, self.error, self.batches = model, error, None

    @contextmanager
    def looking(self):
        self.batches = 0
        handle = self.model.register_forward_pre_hook(self.seen)
        try:
            yield
        finally:
            handle.remove()

    def coming(self, batch):
        self.batches += len(batch) == 2

    def seen(self, *_):
        if self.error:
            raise self.error


def rig():
    torch.manual_seed(0)
    model = Counting()
    data = [(torch.randn(8, 3), torch.randint(0, 2, (8,))) for _ in range(6)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    found = Rig(
        Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer), "cpu", 0
    )
    found.open()
    return found


def test_all_look_at_one_pass():
    on = rig()
    fixed, looks = FixedBatches.of(on), [Look(on.model), Look(on.model)]
    for look in looks:
        FixedBatches.of(on).look(look)
    losses = [fixed.losses_at_the_end(), *(fixed.losses_at_the_end(look) for look in looks)]
    assert on.model.calls == BATCHES
    assert [look.batches for look in looks] == [BATCHES, BATCHES]
    assert all(torch.equal(torch.stack(one), torch.stack(losses[0])) for one in losses)


def test_only_the_weights_make_a_difference():
    on = rig()
    fixed = FixedBatches.of(on)
    state = {name: t.clone() for name, t in on.model.state_dict().items()}
    before, again = fixed.losses(), fixed.losses_at_the_end()
    assert torch.equal(torch.stack(before), torch.stack(again))
    assert all(torch.equal(t, state[name]) for name, t in on.model.state_dict().items())


def test_one_who_fails_spoils_nothing_for_the_others():
    on = rig()
    fixed, good, bad = FixedBatches.of(on), Look(on.model), Look(on.model, TypeError("no"))
    alone = fixed.losses()
    fixed.look(good)
    fixed.look(bad)
    assert torch.equal(torch.stack(fixed.losses_at_the_end()), torch.stack(alone))
    assert torch.equal(torch.stack(fixed.losses_at_the_end(good)), torch.stack(alone))
    assert good.batches == BATCHES
    with pytest.raises(TypeError, match="no"):
        fixed.losses_at_the_end(bad)


def test_what_the_recipe_raises_is_raised_to_all():
    on = rig()
    fixed, look = FixedBatches.of(on), Look(on.model)
    fixed.look(look)
    on.model.body = nn.Linear(5, 2)
    for who in (None, look):
        with pytest.raises(RuntimeError, match="shapes"):
            fixed.losses_at_the_end(who)
