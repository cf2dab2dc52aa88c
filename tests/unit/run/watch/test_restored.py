"""Weights that are kept and loaded again later: copies restore, references do not."""

import copy

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


def steps(model, count=8):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def loaded(model, kept):
    model.load_state_dict(kept)


def told(keep, restore=loaded):
    """What is told of a loop that trains, keeps the weights, trains on and restores them."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    with watch() as run:
        steps(model)
        kept = keep(model)
        steps(model)
        restore(model, kept)
    return [f.verdict.cause for f in run.failures if f.verdict.check == "weights_are_restored"]


@pytest.mark.parametrize(
    "keep",
    [
        lambda model: model.state_dict(),
        lambda model: dict(model.state_dict()),
        lambda model: {name: tensor.cpu() for name, tensor in model.state_dict().items()},
    ],
    ids=["as it is", "a shallow copy", "moved to where it is"],
)
def test_weights_kept_by_reference_restore_nothing(keep):
    (cause,) = told(keep)
    assert "references" in cause


@pytest.mark.parametrize(
    "keep",
    [
        lambda model: copy.deepcopy(model.state_dict()),
        lambda model: {name: tensor.clone() for name, tensor in model.state_dict().items()},
    ],
    ids=["a deep copy", "clones"],
)
def test_copies_restore(keep):
    assert told(keep) == []


def into_another(model, kept):
    copy.deepcopy(model).load_state_dict(kept)


def at_once(model, kept):
    model.load_state_dict(model.state_dict())


def written_through(model, kept):
    for tensor in kept.values():
        tensor.mul_(0.5)
    model.load_state_dict(kept)


@pytest.mark.parametrize("restore", [into_another, at_once, written_through])
def test_references_that_lose_nothing_are_not_told(restore):
    assert told(lambda model: model.state_dict(), restore) == []


def prefixed(model):
    return {f"module.{name}": tensor.clone() for name, tensor in model.state_dict().items()}


def nested(model):
    return {"model": copy.deepcopy(model.state_dict()), "epoch": 3}


def leniently(model, kept):
    model.load_state_dict(kept, strict=False)


@pytest.mark.parametrize("keep", [prefixed, nested])
def test_weights_of_which_no_name_fits_are_not_loaded(keep):
    (cause,) = told(keep, leniently)
    assert "loads nothing" in cause


def test_a_teacher_that_nobody_trains_is_told_of_too():
    student, teacher = nn.Linear(4, 1), nn.Linear(4, 1)
    with watch() as run:
        leniently(teacher, prefixed(teacher))
        steps(student)
    assert [f.verdict.check for f in run.failures] == ["weights_are_restored"]


def at_second_try(model, kept):
    leniently(model, kept)
    leniently(model, {name.removeprefix("module."): tensor for name, tensor in kept.items()})


def by_a_hook(model, kept):
    def rename(state, *_):
        for name in list(state):
            state[name.removeprefix("module.")] = state.pop(name)

    model.register_load_state_dict_pre_hook(lambda _, state, *rest: rename(state))
    leniently(model, kept)


@pytest.mark.parametrize("restore", [at_second_try, by_a_hook])
def test_names_that_are_mended_are_loaded(restore):
    assert told(prefixed, restore) == []


def test_a_part_may_be_missing():
    assert told(lambda model: {"0.weight": model[0].weight.detach().clone()}, leniently) == []
