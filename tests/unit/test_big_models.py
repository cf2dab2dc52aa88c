"""A model too big to build several times: built once, and kept no more than once beside itself."""

from __future__ import annotations

import gc

import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.run.world.snapshot import Snapshot
from pytest_dlcheck.session import Examination, Subject, default_checks
from pytest_dlcheck.verdict import Outcome


def recipe():
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return Recipe(
        model=model,
        train_data=(inputs, (inputs[:, 0] > 0).long()),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
    )


def test_the_whole_battery_builds_it_once():
    built = []

    def factory():
        built.append(1)
        return recipe()

    policy = Policy(steps=20, device="cpu")
    examination = Examination(Subject("big", policy, default_checks(), rebuild=False))
    verdicts = examination.conclude(factory).verdicts
    examination.put_back()

    assert len(built) == 1
    assert len(examination.traces) >= 3
    assert not {v.check for v in verdicts if v.outcome in {Outcome.FAILED, Outcome.ERRORED}}


def test_a_snapshot_holds_one_copy_and_putting_back_leaves_nothing_behind():
    big = nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256), nn.Linear(256, 256))
    made = Recipe(
        model=big,
        train_data=(torch.zeros(4, 256), torch.zeros(4).long()),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(big.parameters()),
    )
    weights = _held([*big.parameters(), *big.buffers()])
    before = _alive()

    snapshot = Snapshot(made)
    assert _alive() - before <= weights
    for _ in range(3):
        snapshot.restored()
    assert _alive() - before <= weights


def _held(tensors):
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _alive():
    """Bytes of all tensors that the process holds; fake ones, which compilers leave, hold none."""
    gc.collect()
    plain = {torch.Tensor, nn.Parameter}
    found = [thing for thing in gc.get_objects() if type(thing) in plain]
    return _held([thing for thing in found if thing.layout == torch.strided])
