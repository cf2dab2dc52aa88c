"""What batches_are_shuffled says of orders: sorted, in runs, at random, seeded, repeated."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

N = 400
X = torch.randn(N, 4)
Y = torch.randint(5, (N,), generator=torch.Generator().manual_seed(3))
SORTED = TensorDataset(X, Y.sort().values)
MIXED = TensorDataset(X, Y)


def recipe_of(data, loss=None, outputs=5):
    model = nn.Linear(4, outputs)
    return Recipe(
        model=model,
        train_data=data,
        loss=loss or nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )


class Fixed(Sampler):
    """A sampler of the user's own, always in one order."""

    def __init__(self, order):
        self.order = order

    def __iter__(self):
        return iter(self.order)

    def __len__(self):
        return len(self.order)


class PerClass(Sampler):
    """Batches of eight of each of two classes, as metric learning wants them."""

    def __len__(self):
        return 25

    def __iter__(self):
        for _ in range(25):
            pair = torch.randperm(5)[:2].tolist()
            yield [int(i) for c in pair for i in (c == Y).nonzero().flatten()[torch.randperm(40)[:8]]]


CLASS_WEIGHTS = 1 / torch.bincount(Y)


def test_a_weight_per_class_fails_as_the_other_samples_are_never_drawn(verdict_on):
    sampler = WeightedRandomSampler(CLASS_WEIGHTS, N)
    verdict = verdict_on(lambda: recipe_of(DataLoader(MIXED, 32, sampler=sampler)))
    assert verdict.failed
    assert "a weight for each sample" in verdict.cause
    assert "395 of them" in verdict.because


def test_a_data_set_that_is_asked_for_classes_may_have_a_weight_for_each(verdict_on):
    class OneOf(Dataset):
        def __len__(self):
            return N

        def __getitem__(self, label):
            of_class = (label == Y).nonzero().flatten()
            return MIXED[of_class[torch.randint(len(of_class), ())]]

    sampler = WeightedRandomSampler(CLASS_WEIGHTS, N)
    verdict = verdict_on(lambda: recipe_of(DataLoader(OneOf(), 32, sampler=sampler)))
    assert not verdict.failed, verdict.because


@pytest.mark.parametrize(
    "sampler",
    [
        lambda: WeightedRandomSampler(CLASS_WEIGHTS[Y], N),
        lambda: WeightedRandomSampler(CLASS_WEIGHTS[Y], N // 2, replacement=False),
        lambda: SubsetRandomSampler(range(40)),
    ],
    ids=["a weight per sample", "without replacement", "a subset"],
)
def test_a_weight_per_sample_and_a_subset_pass_without_advice(verdict_on, sampler):
    verdict = verdict_on(lambda: recipe_of(DataLoader(MIXED, 8, sampler=sampler())))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


@pytest.mark.parametrize(
    "weights",
    [CLASS_WEIGHTS[Y][:300], (torch.arange(N) < 20).float(), torch.ones(20)],
    ids=["the last samples held out", "a few labelled", "a small part"],
)
def test_weights_that_may_leave_out_samples_on_purpose_are_advice(verdict_on, weights):
    sampler = WeightedRandomSampler(weights, N)
    verdict = verdict_on(lambda: recipe_of(DataLoader(MIXED, 32, sampler=sampler)))
    assert verdict.outcome is Outcome.PASSED
    assert "can never be drawn" in verdict.advice[0]


def test_sorted_by_label_fails_naming_the_sampler(verdict_on):
    verdict = verdict_on(lambda: recipe_of(DataLoader(SORTED, 32)))
    assert verdict.failed
    assert verdict.sites == ("data",)
    assert "SequentialSampler" in verdict.cause


@pytest.mark.parametrize(
    "data",
    [
        lambda: list(zip(X.split(16), Y.sort().values.split(16), strict=True)),
        lambda: DataLoader(SORTED, 16, sampler=Fixed(range(N))),
        lambda: DataLoader(MIXED, 16, sampler=Fixed(Y.argsort().tolist())),
        lambda: DataLoader(TensorDataset(X, nn.functional.one_hot(Y.sort().values, 5).float()), 16),
    ],
    ids=["a list of batches", "an own sampler", "an own sampler that sorts", "one-hot labels"],
)
def test_sorted_in_any_form_fails(verdict_on, data):
    assert verdict_on(lambda: recipe_of(data())).failed


@pytest.mark.parametrize("size", [1, 2, 64, 130])
def test_sorted_by_label_fails_whatever_the_batches_size(verdict_on, size):
    assert verdict_on(lambda: recipe_of(DataLoader(SORTED, size))).failed


def test_batches_that_are_sorted_only_within_do_not_fail(verdict_on):
    order = [part[Y[part].argsort()] for part in torch.randperm(N).split(40)]
    batches = [(X[part], Y[part]) for part in order]
    verdict = verdict_on(lambda: recipe_of(batches))
    assert verdict.outcome is Outcome.PASSED, verdict.because
    in_order = TensorDataset(X[torch.cat(order)], Y[torch.cat(order)])
    assert verdict_on(lambda: recipe_of(DataLoader(in_order, 40))).outcome is Outcome.PASSED


def test_sorted_data_too_large_to_be_read_fails(verdict_on):
    class Large(Dataset):
        def __len__(self):
            return 5_000_000

        def __getitem__(self, index):
            return X[index % N], index // 1_000_000

    assert verdict_on(lambda: recipe_of(DataLoader(Large(), 32))).failed


def test_long_runs_of_a_label_fail(verdict_on):
    runs = torch.randint(5, (N // 20,)).repeat_interleave(20)
    verdict = verdict_on(lambda: recipe_of(DataLoader(TensorDataset(X, runs), 32)))
    assert verdict.failed


def test_sorted_quantities_fail(verdict_on):
    x = torch.linspace(-1, 1, N)[:, None].expand(N, 4)
    data = TensorDataset(x, x[:, :1] * 2 + 1)
    verdict = verdict_on(lambda: recipe_of(DataLoader(data, 32), nn.MSELoss(), 1))
    assert verdict.failed
    assert "sorted" in verdict.cause


def test_a_series_in_time_is_advice(verdict_on):
    series = torch.sin(torch.arange(N) / 20)[:, None] + 0.01 * torch.randn(N, 1)
    data = TensorDataset(X, series)
    verdict = verdict_on(lambda: recipe_of(DataLoader(data, 32), nn.MSELoss(), 1))
    assert verdict.outcome is Outcome.PASSED
    assert "similar targets" in verdict.advice[0]


@pytest.mark.parametrize("data", [SORTED, MIXED], ids=["sorted", "mixed"])
def test_shuffled_passes_without_advice(verdict_on, data):
    verdict = verdict_on(lambda: recipe_of(DataLoader(data, 32, shuffle=True)))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_a_generator_of_the_loaders_own_shuffles_anew(verdict_on):
    own = torch.Generator().manual_seed(0)
    verdict = verdict_on(lambda: recipe_of(DataLoader(SORTED, 32, shuffle=True, generator=own)))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(MIXED, 32),
        lambda: DataLoader(MIXED, 32, sampler=Fixed(torch.randperm(N).tolist())),
        lambda: DataLoader(
            MIXED, batch_sampler=BatchSampler(SequentialSampler(MIXED), 32, drop_last=False)
        ),
    ],
)
def test_the_same_order_every_epoch_is_advice(verdict_on, loader):
    verdict = verdict_on(lambda: recipe_of(loader()))
    assert verdict.outcome is Outcome.PASSED
    assert "same order" in verdict.advice[0]


def test_batches_made_of_few_classes_on_purpose_do_not_fail(verdict_on):
    verdict = verdict_on(lambda: recipe_of(DataLoader(MIXED, batch_sampler=PerClass())))
    assert verdict.outcome is Outcome.PASSED


class Seeding(Dataset):
    def __init__(self, constant):
        self.constant = constant

    def __len__(self):
        return N

    def __getitem__(self, index):
        torch.manual_seed(0 if self.constant else index)
        return X[index], Y[index]


def test_a_seed_in_getitem_draws_every_epoch_alike(verdict_on):
    verdict = verdict_on(lambda: recipe_of(DataLoader(Seeding(constant=True), 32, shuffle=True)))
    assert verdict.failed
    assert "seeds" in verdict.cause


def test_a_seed_by_index_does_not(verdict_on):
    verdict = verdict_on(lambda: recipe_of(DataLoader(Seeding(constant=False), 32, shuffle=True)))
    assert verdict.outcome is Outcome.PASSED


def test_a_sampler_that_stands_still_fails(verdict_on):
    class Stuck(Sampler):
        def __iter__(self):
            return iter([list(range(16))] * 25)

        def __len__(self):
            return 25

    verdict = verdict_on(lambda: recipe_of(DataLoader(MIXED, batch_sampler=Stuck())))
    assert verdict.failed
    assert "one batch" in verdict.cause


class Stream(IterableDataset):
    def __iter__(self):
        return iter(SORTED)


@pytest.mark.parametrize(
    "data",
    [lambda: DataLoader(Stream(), 16), lambda: [(X, Y.sort().values)], lambda: DataLoader(SORTED, N)],
    ids=["a stream", "one batch in a list", "one batch"],
)
def test_streams_and_single_batches_have_no_order(verdict_on, data):
    assert verdict_on(lambda: recipe_of(data())).outcome is Outcome.NOT_APPLICABLE


def test_rare_labels_in_a_row_by_chance_do_not_fail(verdict_on):
    labels = torch.zeros(N, dtype=torch.long)
    labels[[100, 101, 102]] = 1
    verdict = verdict_on(lambda: recipe_of(DataLoader(TensorDataset(X, labels), 16)))
    assert verdict.outcome is Outcome.PASSED
