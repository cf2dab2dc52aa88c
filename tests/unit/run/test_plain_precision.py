"""What float32 tells plainly is not asked in float64; what it leaves open is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

FACTS = ("linearity", "neighbours", "usage")


class Seen(nn.Module):
    """A network that notes in which precisions it was called in eval mode."""

    def __init__(self, *layers, after=None, leaves_out=0):
        super().__init__()
        self.layers, self.after, self.leaves_out = nn.Sequential(*layers), after, leaves_out
        self.precisions = set()

    def forward(self, x):
        if not self.training:
            self.precisions.add(x.dtype)
        kept = x[:, : x.size(1) - self.leaves_out]
        out = self.layers(kept)
        return out if self.after is None else self.after(out)


def told(fact, model, dtype=torch.float32):
    def factory():
        torch.manual_seed(0)
        inputs = torch.randn(16, 6).to(dtype)
        return Recipe(
            model=model.to(dtype),
            train_data=[(inputs, torch.randint(3, (16,)))],
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        )

    return run_trial(factory, Request(Terms().inspect(), frozenset({fact}))).rows(fact)


def network(features=6, **more):
    torch.manual_seed(0)
    return Seen(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 3), **more)


@pytest.mark.parametrize("fact", FACTS)
def test_a_plain_network_stays_in_its_precision(fact):
    model = network()

    assert told(fact, model)
    assert model.precisions == {torch.float32}


def test_a_nonlinearity_is_as_large_as_in_double_precision():
    (single,) = told("linearity", network(), torch.float32)
    (double,) = told("linearity", network(), torch.float64)

    assert single.number("bend") > 0.1
    assert single.number("bend") == pytest.approx(double.number("bend"), rel=1e-4)
    assert (single["exact"], double["exact"]) == (False, True)


def test_a_linear_network_is_proved_to_be_in_double_precision():
    model = Seen(nn.Linear(6, 32), nn.Linear(32, 3))

    row, *_ = told("linearity", model)

    assert torch.float64 in model.precisions
    assert row.flag("exact")
    assert row.number("bend") < 1e-6


def test_a_leak_below_the_digits_of_float32_is_found():
    model = network(after=lambda out: out + 1e-5 * out.mean(0))

    (row,) = told("neighbours", model)

    assert torch.float64 in model.precisions
    assert row["precision"] == "float64"
    assert row.number("change") > row.number("bound")


def test_rounding_is_no_leak():
    (row,) = told("neighbours", network())

    assert row["precision"] == "float32"
    assert row.number("change") <= row.number("bound") == 1e-6


def test_outputs_that_are_nearly_alike_are_told_in_double_precision():
    model = network(after=lambda out: out * 1e-4 + 1.0)

    (row,) = told("neighbours", model)

    assert row["precision"] == "float64"


def test_a_part_that_is_left_out_is_told():
    model = network(5, leaves_out=1)

    rows = [row for row in told("usage", model) if row["part"] == "axis"]

    assert torch.float64 in model.precisions
    assert [row["which"] for row in rows] == ["5"]
