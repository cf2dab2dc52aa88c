"""The signal and the units are measured as they are: held against numbers computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

WANTED = frozenset({"units", "signal", "symmetry", "linearity"})


def recipe_of(model, inputs=None, **more):
    inputs = torch.randn(16, 4) if inputs is None else inputs
    more.setdefault(
        "loss", lambda outputs, targets: (outputs.flatten(1).mean(1) - targets).square().mean()
    )
    return Recipe(
        model=model,
        train_data=[(inputs, torch.randn(len(inputs)))],
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-9),
        **more,
    )


def still(factory):
    trace = run_trial(factory, Request(Terms().inspect(), WANTED))
    assert trace.ending.kind == "completed", trace.ending
    return trace


def trained(factory, steps=3):
    trace = run_trial(factory, Request(Terms(steps=steps).train()[0], WANTED))
    assert trace.ending.kind == "completed", trace.ending
    return trace


def half_dead():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].bias.data = torch.tensor([-99.0] * 5 + [99.0] * 3)
    return recipe_of(model)


@pytest.mark.parametrize("run", [still, trained])
def test_silent_units_are_counted(run):
    (row,) = run(half_dead).rows("units")

    assert (row["site"], row["feeder"], row["function"]) == ("1", "0", "relu")
    assert (row["units"], row["silent"], row["samples"]) == (8, 5, 16 if run is still else 64)
    assert row.number("active") == pytest.approx(3 / 8)


def rectified(*batches):
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    nn.init.eye_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    rows = [torch.tensor(batch) for batch in batches]
    return replace(recipe_of(model), train_data=[(x, torch.randn(len(x))) for x in rows])


def test_what_lives_in_one_batch_is_followed_no_longer():
    alive = [[1.0, -1.0], [-1.0, 1.0]] * 8

    (row,) = trained(lambda: rectified(alive, alive)).rows("units")

    assert (row["silent"], row["samples"], row["active"]) == (0, 16, 0.5)


def test_a_unit_that_wakes_in_a_later_batch_is_not_silent():
    asleep, awake = [[1.0, -1.0]] * 16, [[-1.0, 1.0]] * 16

    (row,) = trained(lambda: rectified(asleep, awake)).rows("units")

    assert (row["silent"], row["samples"]) == (0, 32)


def test_a_channel_is_one_unit():
    def recipe():
        model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 2))
        model[0].bias.data = torch.tensor([-99.0, 0, 0, 0, 0, 0])
        return recipe_of(model, torch.randn(8, 1, 6, 6))

    (row,) = still(recipe).rows("units")

    assert (row["units"], row["silent"]) == (6, 1)


def test_the_signal_is_measured_before_each_layer():
    inputs = 3 + 2 * torch.randn(4096, 4)

    def recipe():
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
        nn.init.eye_(model[0].weight)
        nn.init.constant_(model[0].bias, 7.0)
        return recipe_of(model, inputs)

    first, second, output = still(recipe).rows("signal")

    assert first.number("input_rms") == pytest.approx(13**0.5, rel=0.02)
    assert first.number("input_spread") == pytest.approx(2, rel=0.02)
    assert second.number("input_rms") == pytest.approx(104**0.5, rel=0.02)
    assert first.number("gain") == pytest.approx(1.0)
    assert (first["depth"], second["depth"]) == (1, 2)
    assert output["site"] == "<output>"


def test_a_normalisation_behind_weights_is_noted():
    model = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)]
    rows = {row["site"]: row for row in still(lambda: recipe_of(nn.Sequential(*model))).rows("signal")}

    assert rows["0"].flag("normalised")
    assert not rows["3"].flag("normalised")
    assert rows["1"].number("bias_mean") == 0


def test_parameters_modes_and_draws_are_as_before():
    seen = {}

    def recipe():
        model = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)
        )
        nn.init.constant_(model[0].weight, 0.1)
        seen["model"], seen["before"] = model, {k: v.clone() for k, v in model.state_dict().items()}
        return recipe_of(model)

    trace = still(recipe)

    assert len(trace.rows("symmetry")) == 2
    after = seen["model"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in seen["before"].items())
    assert all(module.training for module in seen["model"].modules())


def test_a_zero_head_is_alike_and_parts():
    def recipe():
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        nn.init.zeros_(model[2].weight)
        return recipe_of(model, loss=nn.CrossEntropyLoss(), targets=lambda batch: batch[1].argsort() % 3)

    counted, head = still(recipe).rows("symmetry")

    assert counted["layers"] == 2
    assert head["site"] == "2"
    assert head["stuck"] is False


def test_a_bend_far_away_is_found():
    def recipe():
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        nn.init.constant_(model[0].bias, 30.0)
        return recipe_of(model)

    whole, *pairs = still(recipe).rows("linearity")

    assert whole.number("bend") > 1e-3
    assert whole["exact"] is True
    assert pairs == []
