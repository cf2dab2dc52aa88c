"""What a module is given, be it by place or by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.run.modules.arguments import argument, in_order


class Named(nn.Module):
    def forward(self, ids=None, mask=None, labels=None, **others):
        return ids, mask, labels, others


class Anything(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


@pytest.mark.parametrize(
    ("module", "args", "named", "given"),
    [
        (Named(), (1, 2), {}, (1, 2)),
        (Named(), (), {"labels": 3, "ids": 1}, (1, 3)),
        (Named(), (1,), {"extra": 9, "labels": 3, "mask": 2}, (1, 2, 3, 9)),
        (Anything(), (1,), {"b": 3, "a": 2}, (1, 3, 2)),
        (nn.Linear(1, 1), (), {"input": 1}, (1,)),
    ],
)
def test_all_that_is_given_is_in_the_order_of_the_parameters(module, args, named, given):
    assert in_order(module, args, named) == given


def test_one_of_them():
    assert argument((1, 2), {}, 1, "mask") == 2
    assert argument((1,), {"mask": 3}, 1, "mask") == 3
    assert argument((1,), {}, 1, "mask") is None


def test_a_forward_of_its_own_is_asked_in_the_order_of_the_call():
    module = nn.Linear(2, 2)
    module.forward = lambda **named: named
    assert in_order(module, (), {"b": 1, "a": 2}) == (1, 2)


def test_a_watched_model_is_saved_whole_and_loads_where_there_is_no_watch(tmp_path):
    model = nn.Sequential(nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch():
        for _ in range(3):
            model(input=torch.ones(4, 2)).sum().backward()
            optimizer.step()
        torch.save(model, tmp_path / "whole.pt")
    loaded = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(loaded(input=torch.ones(4, 2)), model(torch.ones(4, 2)))
    assert torch.equal(loaded(torch.ones(4, 2)), model(torch.ones(4, 2)))
