"""A look at the data is bounded, spread, in the epoch's order, and leaves generators as they were."""

from __future__ import annotations

import random
from time import perf_counter, sleep

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.contents.places import places
from pytest_dlcheck.run.contents.scalar_targets import labels_of
from pytest_dlcheck.run.data.epoch import order_of
from pytest_dlcheck.run.data.identity import shared
from pytest_dlcheck.run.data.own_draws import advanced, generators, kept
from pytest_dlcheck.run.data.samples import SAMPLES, look
from pytest_dlcheck.run.rig import Rig


class Rows(Dataset):
    def __init__(self, size, wait=0.0):
        self.size, self.wait, self.read = size, wait, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.read.append(index)
        if self.wait:
            sleep(self.wait)
        return torch.full((2,), float(index)), index % 3


def rig_of(data):
    model = nn.Linear(2, 3)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    rig = Rig(Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=sgd), "cpu", 0)
    rig.open()
    return rig


def test_a_small_data_set_is_read_whole_and_once():
    data = Rows(100)
    rig = rig_of(DataLoader(data, 16))
    before = len(data.read)
    assert look(rig) is look(rig)
    assert look(rig).whole
    assert sorted(data.read[before:]) == list(range(100))


def test_a_large_one_is_spread_over_and_read_in_pairs_of_neighbours():
    data = Rows(1_000_000)
    found = look(rig_of(DataLoader(data, 50)))
    indices = [i for chunk in found.chunks for i in chunk.indices]
    assert SAMPLES / 8 <= len(indices) <= SAMPLES
    assert max(indices) - min(indices) > 900_000
    assert sum(i + 1 in set(indices) for i in indices) >= len(indices) / 2 - 1
    assert found.total == 1_000_000


def test_slow_reading_stops_when_its_time_is_up():
    rig, began = rig_of(DataLoader(Rows(500, wait=0.02), 8)), perf_counter()
    found = look(rig)
    assert 2 <= found.samples <= 20
    assert perf_counter() - began < 2
    assert not found.whole


@pytest.mark.parametrize("size", [12, 4_000])
def test_tensors_are_taken_by_rows_through_subsets(size):
    base = TensorDataset(torch.arange(2.0 * size).view(size, 2), torch.arange(size) % 3)
    taken = Subset(Subset(base, range(1, size)), range(0, size - 1, 2))
    rig = rig_of(DataLoader(taken, 4, shuffle=True))
    (values,) = [place.values for place in places(rig, look(rig)) if not place.is_target]
    assert sorted(values[:, 0].tolist()) == [2.0 * i for i in range(1, size, 2)]


def test_positions_follow_the_sampler():
    data = Rows(40)
    order = list(range(40))[::-1]
    rig = rig_of(DataLoader(data, 8, sampler=order))
    found = look(rig)
    at = {p: i for chunk in found.chunks for p, i in zip(chunk.positions, chunk.indices, strict=True)}
    assert [at[p] for p in range(40)] == order
    assert list(order_of(rig.stream.loader).indices) == order


def test_batches_of_a_list_that_are_one_object_are_looked_at_once():
    batch = (torch.randn(8, 2), torch.zeros(8, dtype=torch.long))
    assert look(rig_of([batch] * 20)).samples == 8


# -- generators of the data set's own ---------------------------------------------------------------


class Holder:
    def __init__(self):
        self.parts = {"numpy": np.random.default_rng(0), "old": np.random.RandomState(0)}
        self.transform = lambda: float(self.parts["numpy"].normal())
        self.torch = torch.Generator().manual_seed(0)
        self.python = random.Random(0)

    def draw(self):
        drawn = [self.transform(), self.parts["old"].randn(), self.python.random()]
        return [*drawn, float(torch.rand((), generator=self.torch))]


def test_generators_are_found_and_put_back():
    holder = Holder()
    assert {name.split(".")[-1] for name in generators(holder)} == {"numpy", "old", "torch", "python"}
    with kept(holder):
        first = holder.draw()
    with kept(holder, reseed=5):
        other = holder.draw()
    assert holder.draw() == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_the_generator_that_was_drawn_from_is_told():
    holder = Holder()
    assert advanced(holder, holder.transform) == ["parts.numpy"]


def test_what_refers_to_itself_is_walked_once():
    holder = Holder()
    holder.again = holder
    assert len(generators(holder)) == 4


# -- where samples come from ------------------------------------------------------------------------


def test_samples_are_told_apart_by_index_through_subsets_and_concatenations():
    base = Rows(100)
    train = ConcatDataset([Subset(base, range(50)), Rows(10)])
    kind, asked, pairs = shared(train, Subset(Subset(base, range(40, 80)), range(20)))
    assert (kind, asked) == ("indices", 20)
    assert pairs == [(40 + i, i) for i in range(10)]


def test_strangers_cannot_be_told_apart():
    assert shared(Rows(10), Rows(10)) is None


# -- targets that are one number --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (torch.tensor([0, 1, 2]), "classes"),
        (torch.tensor([[0], [1]]), "classes"),
        (torch.eye(4), "classes"),
        (torch.tensor([0.0, 1.0] * 10), "classes"),
        (torch.rand(20), "quantities"),
        (torch.rand(20, 1), "quantities"),
        (torch.rand(20, 3), None),
        (torch.zeros(20, 3, dtype=torch.long), None),
        (torch.tensor([0.0, torch.nan]), None),
    ],
)
def test_targets_are_classes_quantities_or_neither(targets, kind):
    labels = labels_of(targets)
    assert (labels and labels.kind) == kind
