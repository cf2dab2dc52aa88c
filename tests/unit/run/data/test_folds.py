"""One data set is cut the same way every time, by fold, with its labels spread evenly."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.data.folds import cutting, split
from pytest_dlcheck.trial import Trial

LABELS = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
SET = TensorDataset(torch.arange(100), LABELS)


def cut(dataset, fold=0, folds=1):
    with cutting(Trial("fit", fold=fold, folds=folds)) as asked:
        parts = split(dataset)
    assert asked.asked
    return parts


def test_without_folds_it_is_four_fifths_and_one_fifth():
    train, val = split(SET)
    assert (len(train), len(val)) == (80, 20)
    assert not set(train.indices) & set(val.indices)


@pytest.mark.parametrize("folds", [2, 3, 5, 7])
def test_every_sample_is_validated_on_once(folds):
    vals = []
    for fold in range(folds):
        train, val = cut(SET, fold, folds)
        assert sorted([*train.indices, *val.indices]) == list(range(100))
        vals += val.indices
    assert sorted(vals) == list(range(100))


def test_labels_are_spread_evenly():
    for fold in range(5):
        _, val = cut(SET, fold, 5)
        assert Counter(LABELS[val.indices].tolist()) == {0: 14, 1: 4, 2: 2}


def test_the_cut_is_the_same_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = split(SET)[1].indices
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert split(SET)[1].indices == first
    assert torch.equal(torch.get_rng_state(), before)
    assert split(SET, seed=1)[1].indices != first


def test_tensors_are_cut_as_tensors():
    train, val = split((torch.arange(100), LABELS))
    assert [len(part) for part in (*train, *val)] == [80, 80, 20, 20]
    assert torch.equal(LABELS[val[0]], val[1])


class Listed(Dataset):
    def __init__(self, **more):
        vars(self).update(more)
        self.read = 0

    def __len__(self):
        return 100

    def __getitem__(self, index):
        self.read += 1
        return index


@pytest.mark.parametrize("name", ["targets", "labels", "y"])
@pytest.mark.parametrize("form", [lambda x: x, list, lambda x: x.numpy()])
def test_labels_are_found_without_reading_a_sample(name, form):
    labels = LABELS if form is not list else LABELS.tolist()
    dataset = Listed(**{name: labels if form is list else form(labels)})
    for whole in (dataset, Subset(dataset, range(100))):
        _, val = split(whole)
        assert Counter(LABELS[val.indices].tolist()) == {0: 14, 1: 4, 2: 2}
    assert dataset.read == 0


def test_numbers_are_no_labels():
    _, val = split(Listed(targets=torch.randn(100)))
    assert len(val) == 20


class Streaming(IterableDataset):
    def __iter__(self):
        return iter(range(10))


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (TensorDataset(torch.arange(3)), "a data set of 3 samples cannot be cut into 5 parts"),
        (Streaming(), "can only be read in order"),
        (7, "not a int"),
        (iter([1]), "not a list_iterator"),
        ((torch.zeros(3), torch.zeros(4)), r"the tensors hold \[3, 4\] samples"),
    ],
)
def test_what_cannot_be_cut_is_refused(dataset, words):
    with pytest.raises(RecipeError, match=words):
        split(dataset)
