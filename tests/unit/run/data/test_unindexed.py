"""Data sets that make nothing of the number they are asked for, and those that do."""

import random

import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from pytest_dlcheck.run.data import unindexed
from pytest_dlcheck.run.data.unindexed import ignores_its_numbers

ROWS = torch.arange(24.0).reshape(8, 3)


class Rows(Dataset):
    def __init__(self):
        self.place = 0

    def __len__(self):
        return 8


class Next(Rows):
    def __getitem__(self, index):
        self.place += 1
        return ROWS[self.place % 8]


class NextUpToTheEnd(Rows):
    def __getitem__(self, index):
        if index >= len(self) or index + 1 < 0:
            raise IndexError
        return ROWS[random.randrange(8)]


class Redrawn(Rows):
    def __getitem__(self, index):
        index = random.randrange(8)
        return ROWS[index]


class Unnamed(Rows):
    def __getitem__(self, index):
        _ = index
        return torch.randn(3)


class ByNumber(Rows):
    def __getitem__(self, index):
        return ROWS[index] + torch.randn(3)


class Chosen(Rows):
    def __getitem__(self, index):
        index = index % 4
        return ROWS[index]


class Compared(Rows):
    def __getitem__(self, index):
        return ROWS[0] if ROWS[index].sum() > 3 else ROWS[1]


class ByHalf(Rows):
    def __getitem__(self, index):
        label = int(index >= 4)
        return torch.randn(3) + label, label


class ByParity(Rows):
    def __getitem__(self, index):
        if index % 2 == 0:
            return torch.randn(3), 0
        return torch.randn(3) + 1, 1


class ByHalfOfTheLength(Rows):
    def __getitem__(self, index):
        return torch.randn(3), int(len(self) > index >= len(self) // 2)


class ByPlaceAmongRows(Rows):
    def __getitem__(self, index):
        for place, row in enumerate(ROWS):  # noqa: B007  the row is what is wanted
            if place == index:
                break
        return row


class Evaluated(Rows):
    def __getitem__(self, index):
        row = eval("ROWS[index]")
        return row  # noqa: RET504  a name that is given what was evaluated


class Renamed(Rows):
    def __getitem__(self, index):
        row = (place := index) + 1
        return ROWS[place], row


class Noisy(Rows):
    def __init__(self):
        self.noise = Next()

    def __getitem__(self, index):
        return ROWS[index] + self.noise[index]


class NoiseByNumber(Rows):
    def __init__(self):
        self.noises = [Next(), Next()]

    def __getitem__(self, index):
        return self.noises[index % 2][0]


class Refusing(Rows):
    def __getitem__(self, index):
        assert index < 8, index
        if index < 0:
            index += len(self)
        if not 0 <= index < 8:
            raise IndexError(f"{index} is too much")
        row = random.randrange(8)
        return ROWS[row]


class Reordered(Rows):
    def __init__(self, inner):
        self.inner, self.order = inner, [3, 4]

    def __getitem__(self, index):
        index = self.order[index]
        row = self.inner[index]
        return row * 2


class Changed(Rows):
    def __init__(self, inner):
        self.inner = inner

    def __getitem__(self, index):
        return self.inner[index] * 2


@pytest.mark.parametrize("kind", [Next, NextUpToTheEnd, Redrawn, Unnamed, Refusing])
@pytest.mark.parametrize(
    "within",
    [lambda d: d, Changed, Reordered, lambda d: Subset(d, [3, 4]), lambda d: ConcatDataset([d, d])],
)
def test_a_number_that_is_not_used_is_told(kind, within):
    assert ignores_its_numbers(within(kind()))


@pytest.mark.parametrize(
    "data",
    [
        ByNumber(),
        Chosen(),
        Compared(),
        Changed(ByNumber()),
        Reordered(ByNumber()),
        ByHalf(),
        ByParity(),
        ByHalfOfTheLength(),
        ByPlaceAmongRows(),
        Evaluated(),
        Renamed(),
        Noisy(),
        NoiseByNumber(),
        Subset(ByHalf(), [3, 4]),
        TensorDataset(ROWS),
        [1, 2],
        None,
    ],
)
def test_one_that_is_used_is_told(data):
    assert not ignores_its_numbers(data)


def test_what_has_no_source_is_taken_to_use_it():
    made = {}
    exec("class Made:\n    def __getitem__(self, index):\n        return 1\n", made)
    assert not ignores_its_numbers(made["Made"]())


def test_sets_that_hold_each_other_are_looked_at_once(monkeypatch):
    ring = [Changed(None) for _ in range(40)]
    for each in ring:
        each.inner = list(ring)
    looked, look = [], unindexed._look  # noqa: SLF001  to see what is looked at
    monkeypatch.setattr(
        unindexed, "_look", lambda data, ignores: looked.append(data) or look(data, ignores)
    )
    assert not ignores_its_numbers(ring[0])
    assert len(looked) == len({*map(id, looked)})
