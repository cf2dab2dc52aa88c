"""What splits_do_not_overlap says of splits: apart, cut from training, the same, repeating by nature."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, random_split

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

N = 500
X = torch.randn(N, 6)
Y = torch.randint(3, (N,))
ALL = TensorDataset(X, Y)
TRAIN, VAL = TensorDataset(X[:400], Y[:400]), TensorDataset(X[400:], Y[400:])


def recipe_of(train, val, width=6, **facts):
    model = nn.Linear(width, 3)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        **facts,
    )


class Noisy(Dataset):
    """Rows with fresh noise at every reading, over arrays that may be shared."""

    def __init__(self, rows, labels, noise=0.1):
        self.rows, self.labels, self.noise = rows, labels, noise

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index] + self.noise * torch.randn(6), self.labels[index]


class Files(Dataset):
    """Rows by the names of files, of which a crop is read."""

    def __init__(self, numbers):
        self.paths = [f"/images/{n}.png" for n in numbers]
        self.numbers = list(numbers)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return X[self.numbers[index]] * torch.rand(()) + torch.randn(6), Y[self.numbers[index]]


class MadeUp(Dataset):
    """Samples that are made up when they are read."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        x = torch.randn(6)
        return x, int(x[0] > 0)


def halves():
    return random_split(ALL, [400, 100], generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "splits",
    [
        lambda: (TRAIN, VAL),
        halves,
        lambda: (DataLoader(TRAIN, 32, shuffle=True), DataLoader(VAL, 64)),
        lambda: (Noisy(X[:400], Y[:400]), Noisy(X[400:], Y[400:])),
        lambda: (Files(range(400)), Files(range(400, 500))),
        lambda: ((X[:400], Y[:400]), (X[400:], Y[400:])),
        lambda: (list(zip(X[:400].split(40), Y[:400].split(40), strict=True)), VAL),
        lambda: (TRAIN, ConcatDataset([VAL, TensorDataset(X[:2], Y[:2])])),
    ],
)
def test_splits_that_are_apart_pass(verdict_on, splits):
    train, val = splits()
    verdict = verdict_on(lambda: recipe_of(train, val))
    assert verdict.outcome is Outcome.PASSED, verdict.because


@pytest.mark.parametrize(
    "splits",
    [
        lambda: (TRAIN, TRAIN),
        lambda: (TRAIN, Subset(TRAIN, range(100))),
        lambda: (TRAIN, TensorDataset(X[350:450], Y[350:450])),
        lambda: (TRAIN, TensorDataset(X[:60].clone(), Y[:60])),
        lambda: (TRAIN, ConcatDataset([Subset(TRAIN, range(50)), VAL])),
        lambda: (ALL, halves()[1]),
        lambda: (Noisy(X, Y), Subset(Noisy(X, Y), range(400, 500))),
        lambda: (Noisy(X, Y), Noisy(X[400:], Y[400:])),
        lambda: (Files(range(450)), Files(range(400, 500))),
        lambda: (ALL, list(zip(X[400:].split(20), Y[400:].split(20), strict=True))),
        lambda: (DataLoader(TRAIN, 32, shuffle=True), DataLoader(TRAIN, 32)),
    ],
    ids=[
        "the same",
        "a part",
        "half of it",
        "copies",
        "a third of it",
        "split but trained on all",
        "augmented, subset",
        "augmented, shared memory",
        "augmented, files",
        "batches",
        "two loaders",
    ],
)
def test_validation_cut_from_training_fails(verdict_on, splits):
    train, val = splits()
    verdict = verdict_on(lambda: recipe_of(train, val))
    assert verdict.failed, verdict.because
    assert verdict.sites == ("data",)


def test_a_duplicate_or_two_is_advice(verdict_on):
    val = ConcatDataset([VAL, TensorDataset(X[:2], Y[:2])])
    verdict = verdict_on(lambda: recipe_of(TRAIN, val))
    assert verdict.outcome is Outcome.PASSED
    assert "2 of 102" in verdict.advice[0]


def test_samples_that_are_made_up_do_not_overlap(verdict_on):
    data = MadeUp()
    verdict = verdict_on(lambda: recipe_of(data, data))
    assert not verdict.failed


def test_few_distinct_inputs_repeat_by_nature(verdict_on):
    inputs = torch.randint(2, (N, 6)).float()
    train, val = TensorDataset(inputs[:400], Y[:400]), TensorDataset(inputs[400:], Y[400:])
    verdict = verdict_on(lambda: recipe_of(train, val))
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_rare_samples_that_training_repeats_hide_no_overlap(verdict_on):
    often = ConcatDataset([TRAIN, TRAIN, TRAIN])
    assert verdict_on(lambda: recipe_of(often, VAL)).outcome is Outcome.PASSED
    cut = TensorDataset(X[300:400].clone(), Y[300:400])
    assert verdict_on(lambda: recipe_of(often, cut)).failed


def test_too_few_samples_of_many_tell_nothing(verdict_on):
    class Slow(Dataset):
        def __init__(self, seed):
            self.seed = seed

        def __len__(self):
            return 1_000_000

        def __getitem__(self, index):
            generator = torch.Generator().manual_seed(self.seed * 10_000_000 + index)
            return torch.randn(6, generator=generator), index % 3

    verdict = verdict_on(lambda: recipe_of(DataLoader(Slow(0), 32), DataLoader(Slow(1), 32)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    same = verdict_on(lambda: recipe_of(DataLoader(Slow(0), 32), DataLoader(Slow(0), 32)))
    assert same.failed


def test_without_validation_data_it_does_not_apply(verdict_on):
    assert verdict_on(lambda: recipe_of(TRAIN, None)).outcome is Outcome.NOT_APPLICABLE


# -- near duplicates ----------------------------------------------------------------------------


def beside(change):
    """Smooth images of which the last hundred are changed by a function of the first."""
    generator = torch.Generator().manual_seed(3)
    codes = torch.randn(N, 12, generator=generator)
    images = codes @ torch.randn(12, 64, generator=generator)
    return TensorDataset(images[:400], Y[:400]), TensorDataset(change(images, generator), Y[400:])


def copies(images, generator):
    return images[:100] + 0.01 * torch.randn(100, 64, generator=generator)


def others(images, _):
    return images[400:]


def a_few_copies(images, generator):
    return torch.cat([copies(images, generator)[:12], images[412:]])


def test_copies_with_noise_are_near_duplicates(verdict_on):
    verdict = verdict_on(lambda: recipe_of(*beside(copies), width=64))
    assert verdict.failed
    assert "near duplicate" in str(verdict.suspects[0])
    assert verdict_on(lambda: recipe_of(*beside(others), width=64)).outcome is Outcome.PASSED
    few = verdict_on(lambda: recipe_of(*beside(a_few_copies), width=64))
    assert few.outcome is Outcome.PASSED
    assert "near duplicates" in few.advice[0]


def windows():
    series = torch.cumsum(torch.randn(N + 32), 0).unfold(0, 32, 1)[:N]
    return series[torch.randperm(N)]


def rounded():
    return (2 * torch.randn(N, 10)).round()


def curve():
    along = torch.rand(N, 1)
    return torch.cat([along**k for k in range(1, 11)], 1)


def mostly_blank():
    return torch.randn(N, 20) * (torch.rand(N, 1) < 0.3)


@pytest.mark.parametrize("make", [windows, rounded, curve, mostly_blank])
def test_data_that_is_near_to_itself_by_nature_does_not_overlap(verdict_on, make):
    torch.manual_seed(5)
    inputs = make()
    train, val = TensorDataset(inputs[:400], Y[:400]), TensorDataset(inputs[400:], Y[400:])
    verdict = verdict_on(lambda: recipe_of(train, val, width=inputs.size(1)))
    assert verdict.outcome in {Outcome.PASSED, Outcome.INCONCLUSIVE}, verdict
