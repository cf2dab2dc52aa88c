"""Modules are walked as torch walks them."""

from __future__ import annotations

from torch import nn

from pytest_dlcheck.run.modules.walking import modules_of


def test_every_module_is_found_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()))
    model.add_module("none", None)
    model[1].around = model

    found = modules_of(model)

    assert len(found) == len(set(found)) == 4
    assert set(found) == set(model.modules())
