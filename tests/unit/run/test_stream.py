"""Data in every form becomes a stream of batches that does not end before it must."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.stream import BATCH_SIZE, ExhaustedError, Stream

CPU = torch.device("cpu")
X, Y = torch.arange(80.0).reshape(40, 2), torch.arange(40)


def stream(source):
    return Stream(source, "train_data", CPU)


def sizes(source, count):
    found = stream(source)
    return [len(found.next()[0]) for _ in range(count)]


class Flow(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


@pytest.mark.parametrize("source", [(X, Y), TensorDataset(X, Y), Flow()], ids=["pair", "set", "flow"])
def test_data_without_batches_gets_them(source):
    assert sizes(source, 4) == [BATCH_SIZE, 40 - BATCH_SIZE] * 2


def test_loaders_and_lists_are_read_as_they_are():
    assert sizes(DataLoader(TensorDataset(X, Y), batch_size=15), 4) == [15, 15, 10, 15]
    assert sizes([(X[:3], Y[:3]), (X[:1], Y[:1])], 3) == [3, 1, 3]


def test_epochs_are_counted_and_their_last_batch_is_known():
    found = stream([(X, Y)] * 3)
    ends = []
    for _ in range(7):
        found.next()
        ends.append(found.epoch_ended)
    assert ends == [False, False, True] * 2 + [False]
    assert found.epoch == 2
    assert found.batches_per_epoch == 3


def test_an_iterator_ends_where_it_ends():
    found = stream(iter([(X, Y)] * 2))
    found.next(), found.next()
    with pytest.raises(ExhaustedError):
        found.next()
    assert stream(iter([])).batches_per_epoch is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "train_data is empty: it gave no batch$"),
        (iter(()), "an iterator can be read only once"),
        ((X[:0], Y[:0]), "tensors of 0 samples"),
        ((X, Y[:1]), r"\[40, 1\] samples"),
        ((torch.tensor(1.0),), "tensors of 0 samples"),
        (TensorDataset(X[:0]), "a data set of 0 samples"),
        (X, "is a Tensor: give a DataLoader"),
        ("data", "is a str"),
        ({"x": X}, "is a dict"),
        (None, "is a NoneType"),
    ],
)
def test_what_gives_no_batch_is_refused(source, said):
    with pytest.raises(RecipeError, match=said):
        stream(source).next()


def test_a_loader_that_drops_everything_says_so():
    loader = DataLoader(TensorDataset(X[:5]), batch_size=8, drop_last=True)
    with pytest.raises(RecipeError, match="of 5 samples by 8 with drop_last=True"):
        stream(loader).next()
