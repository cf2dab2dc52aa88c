"""Data sets that make nothing of the number they are asked for, and those that do."""

import random

import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from pytest_dlcheck.run.unindexed import ignores_its_numbers

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


class Changed(Rows):
    def __init__(self, inner):
        self.inner = inner

    def __getitem__(self, index):
        return self.inner[index] * 2


@pytest.mark.parametrize("kind", [Next, NextUpToTheEnd, Redrawn, Unnamed])
@pytest.mark.parametrize(
    "within", [lambda d: d, Changed, lambda d: Subset(d, [3, 4]), lambda d: ConcatDataset([d, d])]
)
def test_a_number_that_is_not_used_is_told(kind, within):
    assert ignores_its_numbers(within(kind()))


@pytest.mark.parametrize(
    "data", [ByNumber(), Chosen(), Compared(), Changed(ByNumber()), TensorDataset(ROWS), [1, 2], None]
)
def test_one_that_is_used_is_told(data):
    assert not ignores_its_numbers(data)


def test_what_has_no_source_is_taken_to_use_it():
    made = {}
    exec("class Made:\n    def __getitem__(self, index):\n        return 1\n", made)
    assert not ignores_its_numbers(made["Made"]())
