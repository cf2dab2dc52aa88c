"""Layers that every forward builds, calls and drops, told from what is built beside a model."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_dlcheck import watch

ROWS = torch.randn(320, 20, generator=torch.Generator().manual_seed(3))


class Block(nn.Module):
    """A layer of its own, and one that ``around`` makes of what it gives."""

    def __init__(self, around):
        super().__init__()
        self.own, self.around = nn.Linear(20, 24), around

    def forward(self, rows):
        return self.around(self, self.own(rows).relu())


class Model(nn.Module):
    def __init__(self, around):
        super().__init__()
        self.block, self.head = Block(around), nn.Linear(24, 1)

    def forward(self, rows):
        return self.head(self.block(rows))


def as_it_is(block, hidden):
    return hidden


def trained(around, steps=12, before=lambda model, rows: rows):
    model = Model(around)
    model(ROWS[:2])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for i in range(steps):
        rows = ROWS[16 * i :][:16]
        rows = before(model, rows)
        optimizer.zero_grad()
        (model(rows) - 1).pow(2).mean().backward()
        optimizer.step()


def rows_of(*args, **kwargs):
    with watch() as run:
        trained(*args, **kwargs)
    return run.traces[-1][1].facts.get("unregistered", ())


def project(block, hidden):
    return nn.LayerNorm(24)(nn.Linear(24, 24)(hidden) + hidden)


def test_layers_built_in_a_forward_are_told_with_their_line():
    summary, *rows = rows_of(project)
    names = [row.text("holder").split(": ")[1].split(" (")[0] for row in rows]
    assert names == ["LayerNorm.weight", "LayerNorm.bias", "Linear.weight", "Linear.bias"]
    assert {row.text("place") for row in rows} == {"block"}
    assert all("test_made_anew.py:" in row.text("holder") for row in rows)
    assert summary.integer("known") == 4


def test_the_check_names_it():
    with watch() as run:
        trained(project)
    assert [f.verdict.check for f in run.failures if not f.because_of] == ["parameters_are_registered"]


def frozen(block, hidden):
    return nn.Linear(24, 24).requires_grad_(requires_grad=False)(hidden)


def kept(block, hidden):
    if not hasattr(block, "late"):
        block.late = nn.Linear(24, 24)
    return block.late(hidden)


def in_a_list(block, hidden):
    block.__dict__.setdefault("list", [nn.Linear(24, 24)])
    return block.list[0](hidden)


def noise(block, hidden):
    return hidden + nn.Parameter(torch.randn_like(hidden))


@pytest.mark.parametrize("around", [as_it_is, frozen, kept, in_a_list, noise])
def test_others_are_not(around):
    assert rows_of(around) == ()


def attacked(model, rows):
    delta = nn.ParameterList([nn.Parameter(torch.rand_like(rows) / 50)])
    (model(rows + delta[0]) - 1).pow(2).mean().backward()
    return rows + delta[0].grad.sign() / 50


def augmented(model, rows):
    return functional.dropout(nn.Linear(20, 20)(rows), 0.1)


def mixed(block, hidden):
    return nn.Linear(24, 24)(torch.ones(len(hidden), 24)) + hidden


def fitted(block, hidden):
    """A layer of its own for every batch, trained within the forward."""
    layer = nn.Linear(24, 16)
    for _ in range(3):
        off = (layer(hidden.detach()) - 1).pow(2).mean()
        slopes = torch.autograd.grad(off, layer.parameters())
        with torch.no_grad():
            for parameter, slope in zip(layer.parameters(), slopes, strict=True):
                parameter.sub_(0.1 * slope)
    return layer(hidden).sum(1, keepdim=True) + hidden


@pytest.mark.parametrize("around", [mixed, fitted])
def test_random_and_fitted_layers_may_be_meant(around):
    assert rows_of(around) == ()


def test_what_some_forwards_build_is_not_made_in_every_one():
    passes = iter(range(100))

    def around(block, hidden):
        return nn.Linear(24, 16)(hidden).sum(1, keepdim=True) + hidden if next(passes) % 2 else hidden

    assert rows_of(around, steps=40) == ()


def test_what_is_built_is_not_kept_alive():
    alive = weakref.WeakSet()

    def step(model, rows):
        delta = nn.ParameterList([nn.Parameter(torch.rand_like(rows) / 50)])
        alive.add(delta)
        (model(rows + delta[0]) - 1).pow(2).mean().backward()
        return rows

    with watch():
        trained(as_it_is, steps=100, before=step)
        assert len(alive) <= 1


@pytest.mark.parametrize("before", [attacked, augmented])
def test_what_is_built_outside_of_the_model_is_not(before):
    assert rows_of(as_it_is, before=before) == ()


def test_models_that_are_built_for_every_step_are_not():
    def loop():
        for i in range(12):
            model = Model(as_it_is)
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            (model(ROWS[16 * i :][:16]) - 1).pow(2).mean().backward()
            optimizer.step()

    with watch() as run:
        loop()
    assert all("unregistered" not in trace.facts for _, trace in run.traces)
