"""What data_is_sound says of denoising pairs: noise that is drawn alike for every sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


def verdict_on(dataset):
    def recipe():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64))
        return Recipe(
            model=model,
            train_data=DataLoader(dataset, 16, shuffle=True),
            loss=lambda outputs, targets: F.mse_loss(outputs, targets.flatten(1)),
            optimizer=torch.optim.SGD(model.parameters(), 0.1),
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("data_is_sound",))
    return Examination(subject).judge("data_is_sound", recipe)


@pytest.fixture
def clean():
    return torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class Pairs(Dataset):
    def __init__(self, clean, spoil):
        self.clean, self.spoil = clean, spoil

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, index):
        return self.spoil(self.clean[index], index), self.clean[index]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def alike(image, _):
    return image + 0.3 * torch.randn(image.shape, generator=seeded(0))


def alike_and_clipped(image, _):
    return (image + 0.3 * torch.randn(image.shape, generator=seeded(7))).clamp(0, 1)


def uniform(image, _):
    return image + torch.rand(image.shape, generator=seeded(3))


@pytest.mark.parametrize("spoil", [alike, alike_and_clipped, uniform])
def test_noise_of_a_generator_made_anew_in_every_reading_fails(clean, spoil):
    verdict = verdict_on(Pairs(clean, spoil))
    assert verdict.outcome is Outcome.FAILED
    assert "the same noise in every sample" in verdict.cause


def test_one_noise_for_a_whole_table_fails():
    clean = torch.randn(200, 64, generator=seeded(1)).cumsum(1)
    verdict = verdict_on(TensorDataset(clean + torch.randn(64, generator=seeded(2)), clean))
    assert verdict.outcome is Outcome.FAILED


HEALTHY = {
    "by index": lambda image, index: image + 0.3 * torch.randn(image.shape, generator=seeded(index)),
    "of the global generator": lambda image, _: image + 0.3 * torch.randn_like(image),
    "clean": lambda image, _: image.clone(),
    "one box painted over": lambda image, _: image.index_fill(2, torch.arange(3), 0.0),
    "a fixed mask": lambda image, _: image * (torch.rand(image.shape, generator=seeded(0)) > 0.3),
    "brighter": lambda image, _: image + 0.5,
    "standardised": lambda image, _: (image - 0.5) / 0.3,
    "a vignette": lambda image, _: image - torch.linspace(-1, 1, 8).square(),
    "every second image": lambda image, index: alike(image, index) if index % 2 else image.clone(),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_differs_between_samples_or_is_no_noise_is_silent(clean, name):
    verdict = verdict_on(Pairs(clean, HEALTHY[name]))
    assert verdict.outcome is Outcome.PASSED


@pytest.mark.parametrize("centred", [True, False])
def test_tables_less_their_means_are_silent(centred):
    raw = torch.randn(200, 64, generator=seeded(1)) + torch.randn(64, generator=seeded(2))
    verdict = verdict_on(TensorDataset(raw - raw.mean(0) if centred else raw, raw))
    assert verdict.outcome is Outcome.PASSED
