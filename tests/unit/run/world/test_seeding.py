"""Seeds: a world of its own for a trial, the one outside continued as if nothing was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from pytest_dlcheck.run.world.seeding import same_draws, seed_everything, seeded


def draws():
    numbers = random.random(), float(torch.rand(()))
    return *numbers, float(np.random.rand())  # noqa: NPY002  the state that users share


@pytest.mark.parametrize("world", [seeded, same_draws])
def test_the_same_seed_gives_the_same_draws(world):
    with world(3):
        first = draws()
    with world(3):
        again = draws()
    with world(4):
        other = draws()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("world", [seeded, same_draws])
def test_the_stream_outside_goes_on_as_if_nothing_was(world):
    seed_everything(1)
    undisturbed = [draws() for _ in range(2)]
    seed_everything(1)
    first = draws()
    with pytest.raises(KeyError), world(3):
        raise KeyError(draws())
    assert [first, draws()] == undisturbed


def test_a_large_seed_is_one_too():
    with seeded(2**40):
        draws()


def test_gradients_are_on_inside_and_as_before_outside():
    with torch.no_grad():
        with seeded(0):
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()


def test_a_default_dtype_or_device_left_behind_is_put_back():
    with seeded(0):
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
    assert torch.ones(1).dtype is torch.float32
    assert torch.ones(1).device.type == "cpu"
    assert torch.get_default_device().type == "cpu"
