"""Which device a name stands for, and what is said of one that is not there."""

from __future__ import annotations

import pytest
import torch

from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.world import device


def test_auto_is_the_accelerator_or_the_cpu():
    there = torch.accelerator.is_available()
    expected = torch.accelerator.current_accelerator().type if there else "cpu"
    assert device.resolve("auto") == expected


def test_the_cpu_is_always_there():
    assert device.resolve("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "xpu:99", "mps:99"])
def test_what_is_not_there_is_said_with_what_is(name):
    with pytest.raises(RecipeError, match=f"device '{name}' is not there; available here: cpu"):
        device.resolve(name)


@pytest.mark.parametrize("name", ["tpu", "gpu", "", "cuda:x"])
def test_what_torch_does_not_know_is_said(name):
    with pytest.raises(RecipeError, match="is no device that torch knows"):
        device.resolve(name)


def test_processors_are_shared_unless_the_user_has_chosen(monkeypatch):
    before = torch.get_num_threads()
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    device.share_threads(2)
    assert chosen == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    device.share_threads(1000)
    assert chosen == [1]
    assert torch.get_num_threads() == before
