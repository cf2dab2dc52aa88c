"""Parts that come into a model while it trains: which of them nothing steps."""

import gc
import weakref

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


def steps(model, optimizer, count=24):
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(8, 20)).pow(2).mean().backward()
        optimizer.step()


def net():
    return nn.Sequential(nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20))


def told(between, model=None):
    """The rows of what came late into a model that is trained before and after."""
    model = model or net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        steps(model, optimizer)
        between(model, optimizer)
        steps(model, optimizer)
    return [row for row in run.trace.rows("coverage") if row.flag("came_late")]


def put(layer):
    def between(model, _):
        model[2] = layer

    return between


def test_a_fresh_layer_in_the_place_of_another_is_told_with_what_the_optimizer_holds_still():
    rows = told(put(nn.Linear(20, 20)))

    assert [row["name"] for row in rows] == ["2.weight", "2.bias"]
    assert {row["left"] for row in rows} == {2}
    assert all(row["replaces"] for row in rows)
    assert rows[0]["untrained"] is True


def test_a_further_layer_replaces_nothing():
    rows = told(lambda model, _: model.append(nn.Linear(20, 20)))

    assert [(row["name"], row["replaces"], row["left"]) for row in rows] == [
        ("3.weight", False, 0),
        ("3.bias", False, 0),
    ]


def add_group(model, optimizer):
    model[2] = nn.Linear(20, 20)
    optimizer.add_param_group({"params": model[2].parameters()})


def add_to_group(model, optimizer):
    model[2] = nn.Linear(20, 20)
    optimizer.param_groups[0]["params"].extend(model[2].parameters())


def hold_elsewhere(model, _):
    model[2] = nn.Linear(20, 20)
    model.other = [torch.optim.SGD(model[2].parameters(), lr=0.01)]


@pytest.mark.parametrize(
    "between",
    [
        put(nn.Linear(20, 20).requires_grad_(requires_grad=False)),
        add_group,
        add_to_group,
        hold_elsewhere,
        lambda model, _: model.double().float(),
    ],
    ids=["frozen", "a group", "in a group", "an optimizer that waits", "other types"],
)
def test_what_is_held_or_fixed_is_not_told(between):
    assert told(between) == []


def test_what_moves_by_another_way_is_not_told():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        steps(model, optimizer)
        model[2] = nn.Linear(20, 20)
        for _ in range(24):
            steps(model, optimizer, 1)
            with torch.no_grad():
                for parameter in model[2].parameters():
                    parameter.sub_(0.01 * parameter.grad)
                    parameter.grad = None

    assert not any(row.flag("came_late") for row in run.trace.rows("coverage"))


def test_a_part_without_any_gradient_is_not_told():
    class Unused(nn.Linear):
        def forward(self, x):
            return x + 0 * self.weight.sum()

    assert told(put(Unused(20, 20))) == []


def test_a_replaced_part_is_not_kept_alive():
    model = net()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.01)
    with watch():
        steps(model, optimizer)
        model[2] = nn.Linear(20, 20)
        known = weakref.ref(model[2].weight)
        steps(model, optimizer)
        model[2] = nn.Linear(20, 20)
        steps(model, optimizer, 2)
        gc.collect()
        assert known() is None
