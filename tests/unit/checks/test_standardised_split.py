"""What data_is_sound says of one split that is standardised where the other is raw."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn
from torch.utils.data import TensorDataset

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


def verdict_on(train, val, *first, forward=None):
    def recipe():
        model = nn.Sequential(*first, nn.Flatten(), nn.Linear(train[0].numel(), 2))
        return Recipe(
            model=model,
            train_data=TensorDataset(train.float(), torch.arange(len(train)) % 2),
            val_data=TensorDataset(val.float(), torch.arange(len(val)) % 2),
            loss=nn.CrossEntropyLoss(),
            forward=forward,
            optimizer=torch.optim.SGD(model.parameters(), 0.01),
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("data_is_sound",))
    return Examination(subject).judge("data_is_sound", recipe)


def is_told(verdict):
    return verdict.outcome is Outcome.FAILED and "standardised (normalised)" in verdict.cause


def scaler(table):
    mean, deviation = table.mean(0), table.std(0, correction=0)
    return lambda values: (values - mean) / torch.where(deviation > 0, deviation, 1.0)


@pytest.fixture
def tables():
    """Training and validation samples of measurements, split at random."""

    def tables(load):
        values = torch.tensor(load().data)
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(1))
        cut = int(0.8 * len(values))
        return values[order[:cut]], values[order[cut:]]

    return tables


@pytest.fixture
def images():
    """Grey images in 0..1 of 256 levels, training and validation."""
    generator = torch.Generator().manual_seed(1)
    dark = torch.rand(256, 1, 8, 8, generator=generator).pow(3)
    levels = (dark * 255).round() / 255
    levels[:, :, 0, :2] = torch.tensor([0.0, 1.0])
    return levels[:160], levels[160:]


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
@pytest.mark.parametrize("own", [True, False])
def test_validation_data_alone_standardised_fails(tables, load, own):
    train, val = tables(load)
    train, val = train / train.std(), val / train.std()  # nothing else is out of scale
    verdict = verdict_on(train, scaler(val if own else train)(val))
    assert is_told(verdict)
    assert "raw in train_data" in verdict.suspects[0].finding


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_training_data_alone_standardised_fails(tables, load):
    train, val = tables(load)
    assert is_told(verdict_on(scaler(train)(train), val))


def test_images_that_are_normalised_for_training_alone_fail(images):
    train, val = images
    assert is_told(verdict_on((train - train.mean()) / train.std(), val))


def test_both_standardised_by_the_training_data_is_silent(tables):
    train, val = tables(load_breast_cancer)
    scale = scaler(train)
    assert verdict_on(scale(train), scale(val)).outcome is Outcome.PASSED


def test_raw_images_on_both_sides_are_silent(images):
    assert verdict_on(*images).outcome is Outcome.PASSED
    assert verdict_on(*images, nn.BatchNorm2d(1)).outcome is Outcome.PASSED


def test_training_inputs_that_are_standardised_on_their_way_are_silent(images):
    train, val = images
    mean, deviation = train.mean(), train.std()

    def forward(model, batch):
        images = batch[0]
        return model((images - mean) / deviation if model.training else images)

    normalised = (val - mean) / deviation
    assert not is_told(verdict_on(train, normalised, forward=forward))


@pytest.mark.parametrize("few", [20, 60])
def test_a_few_validation_samples_are_silent(tables, few):
    train, val = tables(load_breast_cancer)
    assert not is_told(verdict_on(scaler(train)(train), val[:few]))


def test_another_domain_is_silent():
    generator = torch.Generator().manual_seed(1)
    train = torch.randn(400, 12, generator=generator)
    moved = torch.randn(200, 12, generator=generator) * (0.3 + torch.rand(12, generator=generator))
    moved = moved + 2 * torch.randn(12, generator=generator)
    assert not is_told(verdict_on(train, moved))
    assert not is_told(verdict_on(moved, train))


def test_series_that_all_rise_from_training_to_validation_are_silent():
    generator = torch.Generator().manual_seed(1)
    rising = torch.randn(600, 6, generator=generator).cumsum(0) + 0.1 * torch.arange(600)[:, None]
    train, val = rising[:400], rising[400:]
    scale = scaler(train)
    assert (scale(val) > 0).double().mean() > 0.9  # else it shows nothing
    assert not is_told(verdict_on(scale(train), scale(val)))


def test_training_data_with_noise_added_is_silent(tables):
    train, val = tables(load_breast_cancer)
    scale = scaler(train)
    noisy = scale(train) + torch.randn(train.shape, generator=torch.Generator().manual_seed(1))
    assert not is_told(verdict_on(noisy, scale(val)))


def test_binary_and_constant_features_are_silent():
    generator = torch.Generator().manual_seed(1)
    codes = (torch.rand(400, 12, generator=generator) < 0.3).double()
    codes[:, 0] = 1.0
    scaled = scaler(codes[:300])
    assert not is_told(verdict_on(codes[:300], codes[300:]))
    assert not is_told(verdict_on(scaled(codes[:300]), scaled(codes[300:])))
