"""What workers_are_independent says of augmentation: who seeds it, and what repeats."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

X = torch.randn(64, 4)
MODULES_OWN = np.random.default_rng(0)


class Augmented(Dataset):
    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.RandomState(0)
        self.torch = torch.Generator().manual_seed(0)

    def __len__(self):
        return 64

    def __getitem__(self, index):
        noise = self.draw(self, index)
        return X[index] + torch.as_tensor(noise, dtype=torch.float32), index % 2


def nothing(_, __):
    return 0.0


def from_torch(_, __):
    return torch.randn(4)


def from_numpy(_, __):
    return np.random.randn(4)  # noqa: NPY002  what users write


def a_flip(_, __):
    return float(random.random() < 0.5)


def from_its_own(data, _):
    return data.rng.randn(4)


def from_its_own_torch(data, _):
    return torch.randn(4, generator=data.torch)


def from_the_modules(_, __):
    return MODULES_OWN.normal(size=4)


def from_nowhere(_, __):
    return np.random.default_rng().normal(size=4)


def seeded_alike(_, __):
    np.random.seed(0)  # noqa: NPY002
    return np.random.randn(4)  # noqa: NPY002


def seeded_by_index(_, index):
    torch.manual_seed(index)
    return torch.randn(4)


def a_pair_of_seeds(_, __):
    seed = random.getrandbits(31)
    torch.manual_seed(seed)
    return torch.randn(4)


def constant(_):
    np.random.seed(0)  # noqa: NPY002


def by_worker(worker):
    np.random.seed(worker)  # noqa: NPY002


def by_torch(_):
    np.random.seed(torch.initial_seed() % 2**32)  # noqa: NPY002


def recipe_of(draw, workers=2, **options):
    model = nn.Linear(4, 2)
    data = draw if isinstance(draw, Dataset) else Augmented(draw)
    return Recipe(
        model=model,
        train_data=DataLoader(data, 8, shuffle=True, num_workers=workers, **options),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )


@pytest.mark.parametrize(
    ("draw", "options"),
    [(from_torch, {}), (from_numpy, {}), (a_flip, {}), (from_numpy, {"worker_init_fn": by_torch})],
)
def test_draws_that_torch_seeds_per_worker_pass(verdict_on, draw, options):
    verdict = verdict_on(lambda: recipe_of(draw, **options))
    assert verdict.outcome is Outcome.PASSED, verdict.because
    assert verdict.advice == ()


@pytest.mark.parametrize(
    ("draw", "named"),
    [(from_its_own, "rng"), (from_its_own_torch, "torch"), (from_the_modules, "MODULES_OWN")],
)
def test_a_generator_that_is_copied_to_each_worker_fails_naming_it(verdict_on, draw, named):
    verdict = verdict_on(lambda: recipe_of(draw))
    assert verdict.failed
    assert "in two workers" in verdict.because
    assert named in verdict.cause


@pytest.mark.parametrize(("seed", "said"), [(constant, "two workers"), (by_worker, "two epochs")])
def test_a_worker_init_fn_that_seeds_alike_fails(verdict_on, seed, said):
    verdict = verdict_on(lambda: recipe_of(from_numpy, worker_init_fn=seed))
    assert verdict.failed
    assert said in verdict.because
    assert "worker_init_fn" in verdict.cause


@pytest.mark.parametrize("workers", [0, 1])
def test_a_constant_seed_while_reading_fails(verdict_on, workers):
    verdict = verdict_on(lambda: recipe_of(seeded_alike, workers))
    assert verdict.failed
    assert "numpy.random" in verdict.cause


def test_a_seed_by_index_is_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(seeded_by_index, 0))
    assert verdict.outcome is Outcome.PASSED
    assert "seeds the global generator of torch" in verdict.advice[0]


def test_one_seed_for_a_pair_of_transforms_is_fine(verdict_on):
    assert not verdict_on(lambda: recipe_of(a_pair_of_seeds, 0)).failed


def test_draws_that_nothing_seeds_are_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(from_nowhere))
    assert verdict.outcome is Outcome.PASSED
    assert "cannot be repeated" in verdict.advice[0]


@pytest.mark.parametrize(("draw", "workers"), [(nothing, 2), (from_its_own, 0), (from_torch, 0)])
def test_without_workers_or_draws_it_does_not_apply(verdict_on, draw, workers):
    verdict = verdict_on(lambda: recipe_of(draw, workers))
    assert verdict.outcome is Outcome.NOT_APPLICABLE


class Stored(Dataset):
    """Standardises what it keeps, in place or not."""

    def __init__(self, keep, edit):
        self.images = keep(np.random.default_rng(1).normal(5, 2, (32, 4)).astype("float32"))
        self.edit = edit

    def __len__(self):
        return 32

    def __getitem__(self, index):
        return self.edit(self.images[index]), index % 2


def in_place(sample):
    sample -= 5.0
    sample /= 2.0
    return sample


def copied(sample):
    return (sample - 5.0) / 2.0


def stored(keep, edit, wrap=lambda data: data):
    def factory():
        model = nn.Linear(4, 2)
        return Recipe(
            model=model,
            train_data=DataLoader(wrap(Stored(keep, edit)), 8, shuffle=True),
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        )

    return factory


@pytest.mark.parametrize("keep", [np.asarray, torch.as_tensor, list], ids=["array", "tensor", "list"])
@pytest.mark.parametrize(
    "wrap",
    [lambda data: data, lambda data: Subset(data, range(20))],
    ids=["whole", "subset"],
)
def test_reading_that_edits_what_is_stored_is_found(verdict_on, keep, wrap):
    verdict = verdict_on(stored(keep, in_place, wrap))
    assert verdict.outcome is Outcome.FAILED, verdict.because
    assert verdict.sites == ("data",)
    assert "images" in verdict.cause
    assert "in place" in verdict.cause


@pytest.mark.parametrize("keep", [np.asarray, torch.as_tensor, list], ids=["array", "tensor", "list"])
def test_reading_that_copies_draws_nothing(verdict_on, keep):
    assert verdict_on(stored(keep, copied)).outcome is Outcome.NOT_APPLICABLE


class Counted(Stored):
    """Counts its readings, and draws from what nothing seeds."""

    def __init__(self):
        super().__init__(np.asarray, copied)
        self.readings = np.zeros(32)

    def __getitem__(self, index):
        self.readings[index] += 1
        image, label = super().__getitem__(index)
        return image + np.random.default_rng().normal(size=4).astype("float32"), label


def test_what_is_counted_beside_unseeded_draws_is_no_edit_of_the_data(verdict_on):
    verdict = verdict_on(stored(np.asarray, copied, lambda _: Counted()))
    assert verdict.outcome is Outcome.PASSED, verdict.because


class Stream(Dataset):
    """Reads on, whatever number it is asked for; each worker its own part where there are any."""

    def __init__(self, shares):
        self.shares, self.place = shares, 0

    def __len__(self):
        return 64

    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker and self.shares else (0, 1)
        self.place += 1
        return X[(first + step * self.place) % 64], self.place % 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_that_is_shared_among_workers_is_no_fault(verdict_on, workers):
    verdict = verdict_on(lambda: recipe_of(Stream(shares=True), workers))
    assert verdict.outcome is not Outcome.FAILED
    assert not verdict.advice


def test_a_stream_that_every_worker_reads_is_one(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Stream(shares=False), 2))
    assert verdict.outcome is Outcome.FAILED
    assert "samples come twice" in verdict.cause
    assert "get_worker_info" in verdict.remedy
