"""What is learned comes from the inputs, or it is told why it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def digits():
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)


def shuffled(x, y):
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]


def off_by_one(x, y):
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(2))  # digits come in turns
    return x[order], y[order].roll(1)


def recipe(change=lambda x, y: (x, y), data=digits, outputs=10, dropout=0.0, **parts):
    def factory():
        x, y = change(*data())
        layers = [nn.Linear(x.size(1), 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, outputs)]
        model = nn.Sequential(*layers)
        given = {"loss": nn.CrossEntropyLoss(), **parts}
        return Recipe(
            model=model,
            train_data=DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
            optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
            **given,
        )

    return factory


def step(model, batch):
    outputs = model(batch[0])
    return F.cross_entropy(outputs, batch[1]), outputs


def silent_step(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def restore(model, batch):
    return F.mse_loss(model(batch[0]), batch[0])


def numbers(x, y):
    return x, (y.float() - 4.5) / 2.9


def squared(outputs, targets):
    return F.mse_loss(outputs.squeeze(1), targets)


def noise():
    return torch.randn(1500, 64), torch.randint(0, 10, (1500,))


def few(count=100):
    return tuple(part[:count] for part in digits())


@pytest.mark.parametrize(
    "factory",
    [
        recipe(),
        recipe(loss=None, training_step=step),
        recipe(loss=None, training_step=silent_step),
        recipe(numbers, outputs=1, loss=squared),
        recipe(data=lambda: (digits()[0], digits()[0]), outputs=64, loss=nn.MSELoss()),
        recipe(data=few),
    ],
    ids=["loss", "step", "silent step", "regression", "autoencoder", "100 samples"],
)
def test_what_is_learned_from_inputs_passes(verdict_on, factory):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.PASSED, verdict


@pytest.mark.parametrize(
    "factory",
    [
        recipe(shuffled),
        recipe(off_by_one),
        recipe(shuffled, loss=None, training_step=step),
    ],
    ids=["shuffled", "off by one", "shuffled, step"],
)
def test_labels_that_do_not_belong_are_found(verdict_on, factory):
    verdict = verdict_on(factory, steps=100)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert verdict.sites == ("data",)
    assert "labels do not belong" in verdict.cause


def test_inputs_that_are_all_the_same_are_found(verdict_on):
    verdict = verdict_on(recipe(lambda x, y: (x * 0 + 0.5, y)))
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "the same for all samples" in verdict.cause


def sorted_columns(x, y):
    return x.sort(0)[0], y


def shuffled_columns(x, y):
    generator = torch.Generator().manual_seed(3)
    return torch.stack([c[torch.randperm(len(c), generator=generator)] for c in x.T], 1), y


def cancer():
    features, labels = load_breast_cancer(return_X_y=True)
    x = torch.tensor(features, dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(6))  # it comes half sorted
    return ((x - x.mean(0)) / x.std(0))[order], torch.tensor(labels)[order]


@pytest.mark.parametrize("data", [digits, cancer])
@pytest.mark.parametrize("harm", [sorted_columns, shuffled_columns])
def test_columns_that_were_sorted_or_shuffled_apart_are_found(verdict_on, harm, data):
    verdict = verdict_on(recipe(harm, data=data), steps=100)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert f"each column was {harm.__name__.partition('_')[0]} by itself" in verdict.cause


def test_simple_methods_rule_out_few_samples(verdict_on):
    verdict = verdict_on(recipe(shuffled, data=cancer), steps=100)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "simple methods predict at most" in verdict.suspects[0].finding


def powers():
    t = torch.rand(200, 1, generator=torch.Generator().manual_seed(4))
    return torch.cat([t**k for k in range(1, 7)], 1), (torch.sin(60 * t) > 0).long().squeeze(1)


def parity():
    bits = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 8)
    return bits, (bits > 0).sum(1) % 2


@pytest.mark.parametrize("data", [powers, parity])
def test_what_simple_methods_cannot_see_is_not_failed(verdict_on, data):
    verdict = verdict_on(recipe(data=data), steps=100)
    assert verdict.outcome is not Outcome.FAILED, verdict


def discs(apart):
    """Images of discs, and where they are; the masks belong to other images."""

    def data():
        generator = torch.Generator().manual_seed(5)
        centres = torch.rand(200, 2, 1, 1, generator=generator) * 16
        grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"))
        masks = ((grid - centres).square().sum(1, keepdim=True) < 16).float()
        images = masks + 0.3 * torch.randn(masks.shape, generator=generator)
        return images, masks.roll(apart, 0)

    return data


@pytest.mark.parametrize(("apart", "outcome"), [(0, Outcome.PASSED), (7, Outcome.FAILED)])
def test_masks_of_other_images_are_found(verdict_on, apart, outcome):
    def factory():
        layers = [nn.Conv2d(1, 24, 5, padding=2), nn.ReLU(), nn.Conv2d(24, 24, 5, padding=2), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Conv2d(24, 1, 5, padding=2))
        return Recipe(
            model=model,
            train_data=DataLoader(TensorDataset(*discs(apart)()), batch_size=16, shuffle=True),
            optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
            loss=nn.BCEWithLogitsLoss(),
        )

    assert verdict_on(factory, steps=80).outcome is outcome


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (recipe(data=noise), "random numbers"),
        (recipe(shuffled, data=lambda: few(60)), "few samples"),
    ],
    ids=["noise", "60 samples"],
)
def test_what_cannot_be_told_is_inconclusive(verdict_on, factory, words):
    verdict = verdict_on(factory, steps=100)
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict
    assert words in verdict.because


def test_a_step_that_has_no_targets_is_not_asked(verdict_on):
    verdict = verdict_on(recipe(loss=None, training_step=restore, outputs=64))
    assert verdict.outcome is Outcome.NOT_APPLICABLE
    assert "takes no notice" in verdict.because


def halves():
    """What is seen of the upper half of a digit, and how much ink is in the lower one."""
    x, _ = digits()
    return x[:, :32], 16 * x[:, 32:].sum(1, keepdim=True) / 20


def test_a_likelihood_without_its_constant_term_rules_nothing_out(verdict_on):
    """The gain is a small share of a loss of -8, whose zero means nothing."""
    counted = recipe(data=halves, outputs=1, loss=nn.PoissonNLLLoss())
    verdict = verdict_on(counted, steps=100)
    assert not verdict.failed, verdict


class Density(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(32, 64), nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, x):
        hidden = torch.relu(self.body(x))
        return self.mean(hidden), F.softplus(self.spread(hidden)) + 1e-3


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.1])
def test_a_density_whose_loss_passes_through_zero_forgets_nothing(verdict_on, scale):
    def factory():
        x, y = halves()
        model = Density()
        data = TensorDataset(x, scale * (y - y.mean()) / y.std())
        return Recipe(
            model=model,
            train_data=DataLoader(data, batch_size=64, shuffle=True),
            loss=lambda given, y: -torch.distributions.Normal(*given).log_prob(y).mean(),
            optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        )

    assert not verdict_on(factory, steps=100).failed


class Mixed(nn.Module):
    """Planes of several images are put together to one sample, by a reshape of another order of axes."""

    def __init__(self):
        super().__init__()
        self.planes, self.head = nn.Conv2d(1, 8, 3, padding=1), recipe(outputs=10)().model
        self.head[0] = nn.Linear(512, 64)

    def forward(self, x):
        planes = self.planes(x.view(-1, 1, 8, 8)).relu()
        return self.head(planes.transpose(0, 1).reshape(len(x), -1))


class Centred(nn.Module):
    """Takes away a hundredth of the batch's mean."""

    def __init__(self):
        super().__init__()
        self.body = recipe(outputs=10)().model

    def forward(self, x):
        return self.body(x - 0.01 * x.mean(0))


def test_samples_that_are_hardly_mixed_do_not_hide_that_targets_are_of_others(diagnosis_of):
    def both():
        model = Centred()
        adam = torch.optim.Adam(model.parameters(), lr=3e-3)
        return replace(recipe(shuffled)(), model=model, optimizer=adam)

    causes = {cause.check for cause in diagnosis_of(both, steps=200).causes}
    assert {"batch_independence", "learns_from_its_inputs"} <= causes


def test_samples_that_a_reshape_mixes_explain_that_nothing_is_learned(diagnosis_of):
    def mixed():
        model = Mixed()
        return replace(recipe()(), model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3))

    diagnosis = diagnosis_of(mixed, steps=100)
    assert [cause.check for cause in diagnosis.causes] == ["batch_independence"]
    (symptom,) = diagnosis.consequences("batch_independence")
    assert symptom.check == "learns_from_its_inputs"
    assert "mixes up samples" in symptom.cause
