"""Models that are built anew and dropped, told from those that are kept, used or others."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pytest_dlcheck import watch

ROWS = torch.randn(96, 20, generator=torch.Generator().manual_seed(3))


def trained(*, rate=0.01, width=24, rows=ROWS, model=None, passes=1, loaded=False):
    model = model or nn.Sequential(nn.Linear(20, width), nn.Tanh(), nn.Linear(width, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(passes):
        for part in DataLoader(rows, 16, shuffle=True) if loaded else rows[torch.randperm(96)].split(16):
            optimizer.zero_grad()
            (model(part) - 1).pow(2).mean().backward()
            optimizer.step()
    return model


def used(model):
    with torch.no_grad():
        return model(ROWS)


def row_of(loop):
    """The longest row of dropped models, and whether the next one is used."""
    torch.manual_seed(0)
    with watch() as run:
        loop()
    row = run.traces[0][1].row("loop")
    return row["dropped"], row["then_used"]


def test_models_that_are_dropped_but_for_the_last_are_counted():
    def loop():
        for _ in range(6):
            model = trained()
        used(model)

    assert row_of(loop) == (4, True)  # the fifth lives on while the last is trained


def test_models_in_one_variable_are_dropped_before_the_next():
    def loop():
        for _ in range(6):
            model = optimizer = None
            model = nn.Sequential(nn.Linear(20, 24), nn.Tanh(), nn.Linear(24, 1))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for part in torch.randperm(len(ROWS)).split(16):
                optimizer.zero_grad()
                (model(ROWS[part]) - 1).pow(2).mean().backward()
                optimizer.step()
        used(model)

    assert row_of(loop) == (5, True)


def test_every_fold_has_a_row_of_its_own():
    def loop():
        for fold in range(2):
            for _ in range(6):
                model = trained(rows=ROWS + fold)
            used(model)

    dropped, then_used = row_of(loop)
    assert (dropped in {4, 5}, then_used) == (True, True)


def kept():
    models = [trained() for _ in range(6)]
    used(models[-1])


def all_used():
    for _ in range(6):
        used(trained())


def used_with_gradients():
    for _ in range(6):
        model = trained()
        model(ROWS).mean().item()


def states_taken():
    for _ in range(6):
        model = trained()
        copy.deepcopy(model.state_dict())
    used(model)


def other_rates():
    for i in range(6):
        model = trained(rate=0.01 / (i + 1))
    used(model)


def other_widths():
    for i in range(6):
        model = trained(width=20 + i)
    used(model)


def other_data():
    for i in range(6):
        model = trained(rows=ROWS + i)
    used(model)


def trained_before():
    start = trained(passes=30, rate=0.1)
    with torch.no_grad():
        start[0].weight.mul_(torch.rand(24, 20) * 3)
    for _ in range(6):
        model = trained(model=copy.deepcopy(start))
    used(model)


def one_start():
    start = nn.Sequential(nn.Linear(20, 24), nn.Tanh(), nn.Linear(24, 1))
    for _ in range(6):
        model = trained(model=copy.deepcopy(start))
    used(model)


def several_passes():
    for _ in range(6):
        model = trained(passes=4)
    used(model)


@pytest.mark.parametrize(
    "loop",
    [
        kept,
        all_used,
        used_with_gradients,
        states_taken,
        other_rates,
        other_widths,
        other_data,
        trained_before,
        one_start,
        several_passes,
    ],
)
def test_others_are_no_row(loop):
    assert row_of(loop)[0] <= 1


def test_what_tells_modes_apart_keeps_no_part_of_a_model():
    def loop():
        for _ in range(6):
            layers = nn.Linear(20, 24), nn.BatchNorm1d(24), nn.Dropout(0.1), nn.Linear(24, 1)
            model = trained(model=nn.Sequential(*layers), loaded=True)
        used(model)

    assert row_of(loop) == (4, True)


def test_where_none_is_used_it_is_not_known_what_they_are_for():
    def loop():
        for _ in range(6):
            trained()

    dropped, then_used = row_of(loop)
    assert dropped >= 4
    assert not then_used
