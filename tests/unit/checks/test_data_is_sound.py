"""What data_is_sound says of small recipes: what cannot be learned from, and what looks like it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

N = 256


@pytest.fixture(autouse=True)
def labels():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(4, (N,), generator=generator)


def mlp(width=12, outputs=4, *first):
    return nn.Sequential(*first, nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, outputs))


def cnn(*first):
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4))
    return nn.Sequential(*first, *layers)


def recipe_of(model, data, loss=None, **facts):
    loaded = DataLoader(TensorDataset(*data), 32, shuffle=True) if isinstance(data, tuple) else data
    return Recipe(
        model=model,
        train_data=loaded,
        loss=None if "training_step" in facts else loss or nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        **facts,
    )


def pixels():
    return torch.randint(256, (N, 1, 8, 8)).float()


class Normalising(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale, self.body = scale, cnn()

    def forward(self, images):
        return self.body(self.scale(images.float()))


# -- healthy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        lambda: cnn(nn.BatchNorm2d(1)),
        lambda: cnn(nn.InstanceNorm2d(1, affine=True)),
        lambda: Normalising(lambda x: x / 255),
        lambda: Normalising(lambda x: F.layer_norm(x, x.shape[1:])),
        lambda: Normalising(lambda x: (x - x.mean()) / x.std()),
    ],
)
def test_pixels_pass_where_the_model_scales_them_itself(verdict_on, labels, model):
    verdict = verdict_on(lambda: recipe_of(model(), (pixels(), labels)))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_pixels_that_a_norm_makes_up_for_after_the_first_layer_are_advice(verdict_on, labels):
    def made():
        body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        return recipe_of(nn.Sequential(body, nn.Linear(144, 4)), (pixels(), labels))

    verdict = verdict_on(made)
    assert verdict.outcome is Outcome.PASSED
    assert "makes up for it" in verdict.advice[0]


DRAWN = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.randn(N, 12, generator=DRAWN),
        torch.rand(N, 12, generator=DRAWN),
        torch.randint(17, (N, 12), generator=DRAWN).float(),
        torch.randn(N, 12, generator=DRAWN) * 0.05,
        torch.randint(2, (N, 12), generator=DRAWN).float(),
        torch.randn(N, 12, generator=DRAWN).exp(),
    ],
    ids=["standardised", "0..1", "0..16", "small", "binary", "outliers"],
)
def test_usual_inputs_pass_without_advice(verdict_on, labels, inputs):
    verdict = verdict_on(lambda: recipe_of(mlp(), (inputs, labels)))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_missing_targets_that_the_loss_leaves_out_are_advice(verdict_on):
    targets = torch.randn(N, 4)
    targets[torch.rand(N, 4) < 0.2] = torch.nan

    def loss(outputs, targets):
        known = ~targets.isnan()
        return F.mse_loss(outputs[known], targets[known])

    verdict = verdict_on(lambda: recipe_of(mlp(), (torch.randn(N, 12), targets), loss))
    assert verdict.outcome is Outcome.PASSED
    assert "on purpose" in verdict.advice[0]


def test_an_additive_mask_with_infinities_is_advice_at_most(verdict_on):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(12, 4)

        def forward(self, inputs, mask):
            return self.head(inputs * mask.softmax(-1))

    mask = torch.zeros(N, 12).masked_fill(torch.arange(12) > 8, -torch.inf)
    pairs = zip(torch.randn(N, 12), mask, strict=True)
    data = [((x, m), torch.tensor(i % 4)) for i, (x, m) in enumerate(pairs)]
    verdict = verdict_on(lambda: recipe_of(Masked(), DataLoader(data, 32, shuffle=True)))
    assert verdict.outcome is Outcome.PASSED


def test_a_mask_that_never_varies_beside_inputs_that_do_is_no_fault(verdict_on, labels):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(12, 4)

        def forward(self, inputs, mask):
            return self.head(inputs * mask)

    data = [((x, torch.ones(12)), y) for x, y in zip(torch.randn(N, 12), labels, strict=True)]
    verdict = verdict_on(lambda: recipe_of(Masked(), DataLoader(data, 32)))
    assert verdict.outcome is Outcome.PASSED


def test_targets_that_the_loss_does_not_look_at_may_be_the_same(verdict_on):
    def loss(outputs, _):
        return outputs.square().mean()

    data = (torch.randn(N, 12), torch.zeros(N))
    verdict = verdict_on(lambda: recipe_of(mlp(), data, loss))
    assert verdict.outcome is Outcome.PASSED
    assert "the same in all" in verdict.advice[0]


def test_residuals_that_a_forward_differentiates_may_have_zero_targets(verdict_on):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.field = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

        def forward(self, x):
            x = x.requires_grad_()
            u = self.field(x)
            (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            return slope - u

    data = (torch.rand(N, 1), torch.zeros(N, 1))
    verdict = verdict_on(lambda: recipe_of(Residual(), data, nn.MSELoss()))
    assert verdict.outcome is Outcome.PASSED


# -- sick ---------------------------------------------------------------------------------------


def test_nan_is_named_by_feature_and_first_sample(verdict_on, labels):
    inputs = torch.randn(N, 12)
    inputs[[70, 200], 5] = torch.nan
    verdict = verdict_on(lambda: recipe_of(mlp(), (inputs, labels)))
    assert verdict.failed
    assert verdict.because.startswith("2 of 256 samples looked at hold NaN (bound 0): input, feature 5")
    assert verdict.because.endswith("first in sample 70")


def test_infinite_targets_fail(verdict_on):
    targets = torch.randn(N, 1)
    targets[9] = torch.inf
    verdict = verdict_on(lambda: recipe_of(mlp(12, 1), (torch.randn(N, 12), targets), nn.MSELoss()))
    assert verdict.failed
    assert "infinity" in verdict.because
    assert "target" in verdict.suspects[0].finding


def test_inputs_that_are_all_zero_fail(verdict_on, labels):
    verdict = verdict_on(lambda: recipe_of(mlp(), (torch.zeros(N, 12), labels)))
    assert verdict.failed
    assert "nothing tells their targets apart" in verdict.cause


def test_a_data_set_that_ignores_its_index_is_named(verdict_on, labels):
    class First(Dataset):
        inputs = torch.randn(N, 12)

        def __len__(self):
            return N

        def __getitem__(self, index):
            return self.inputs[0], labels[0]

    verdict = verdict_on(lambda: recipe_of(mlp(), DataLoader(First(), 32, shuffle=True)))
    assert verdict.failed
    assert "__getitem__" in verdict.cause


@pytest.mark.parametrize(
    ("targets", "loss", "outputs"),
    [
        (torch.full((N,), 2), nn.CrossEntropyLoss(), 4),
        (torch.zeros(N, 1), nn.BCEWithLogitsLoss(), 1),
        (torch.full((N, 1), 3.5), nn.MSELoss(), 1),
    ],
)
def test_one_target_for_all_fails(verdict_on, targets, loss, outputs):
    verdict = verdict_on(lambda: recipe_of(mlp(12, outputs), (torch.randn(N, 12), targets), loss))
    assert verdict.failed
    assert "all targets are" in verdict.cause


def test_pixels_into_a_convolution_fail(verdict_on, labels):
    verdict = verdict_on(lambda: recipe_of(cnn(), (pixels(), labels)))
    assert verdict.failed
    assert verdict.sites == ("data", "0")
    assert "pixels from 0 to 255" in verdict.cause


class Patches(nn.Module):
    """A transformer whose residual stream is fed with what the pixels give."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 4, 4)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        return self.head(self.encoder(self.patches(images).flatten(2).mT).mean(1))


def digits_in_bytes():
    images, labels = load_digits(return_X_y=True)
    x = (torch.tensor(images, dtype=torch.float32) / 16 * 255).round().view(-1, 1, 8, 8)
    return DataLoader(TensorDataset(x, torch.tensor(labels)), batch_size=32, shuffle=True)


def test_pixels_that_only_seem_to_be_mended_fail(verdict_on):
    def factory():
        model = Patches()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        loss = nn.CrossEntropyLoss()
        return Recipe(model=model, train_data=digits_in_bytes(), loss=loss, optimizer=optimizer)

    verdict = verdict_on(factory)
    assert verdict.failed
    assert verdict.sites == ("data", "patches")
    assert "images are not scaled" in verdict.cause


def discs():
    generator = torch.Generator().manual_seed(5)
    centres = torch.rand(120, 2, 1, 1, generator=generator) * 16
    grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"))
    masks = ((grid - centres).square().sum(1, keepdim=True) < 16).float()
    return masks + 0.3 * torch.randn(masks.shape, generator=generator), masks


def half_flipped(images, masks):
    flipped = (torch.arange(len(images)) % 2 == 0).view(-1, 1, 1, 1)
    return torch.where(flipped, images.flip(-1), images), masks


MISLAID = {
    "as they are": (lambda images, masks: (images, masks), ""),
    "both flipped": (lambda images, masks: (images.flip(-1), masks.flip(-1)), ""),
    "of other images": (lambda images, masks: (images, masks.roll(5, 0)), ""),
    "half of them flipped": (half_flipped, "mirrored left to right"),
    "axes exchanged": (lambda images, masks: (images, masks.mT), "rows and columns exchanged"),
    "half as large": (lambda images, masks: (images, nn.functional.avg_pool2d(masks, 2)), ""),
    "classes": (lambda images, masks: (images.flip(-2), masks[:, 0].long()), "top to bottom"),
}


@pytest.mark.parametrize("way", MISLAID)
def test_masks_of_mirrored_images_fail_and_others_do_not(verdict_on, way):
    change, words = MISLAID[way]

    def loss(outputs, targets):
        return (outputs.mean() - targets.float().mean()).square()

    verdict = verdict_on(lambda: recipe_of(nn.Conv2d(1, 1, 3), change(*discs()), loss))
    assert verdict.failed is bool(words), verdict
    assert words in verdict.cause


def test_features_of_different_units_into_a_linear_layer_fail_naming_them(verdict_on, labels):
    inputs = torch.randn(N, 12) * torch.logspace(-2, 3, 12)
    verdict = verdict_on(lambda: recipe_of(mlp(), (inputs, labels)))
    assert verdict.failed
    assert "feature 11" in verdict.suspects[0].finding
    assert "feature 0" in verdict.suspects[0].finding


def test_large_inputs_that_saturate_a_squashing_layer_fail(verdict_on, labels):
    def made():
        model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))
        return recipe_of(model, (torch.rand(N, 12) * 1000, labels))

    assert verdict_on(made).failed


def test_large_inputs_of_a_recurrent_layer_fail(verdict_on, labels):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    verdict = verdict_on(lambda: recipe_of(Reader(), (torch.rand(N, 5, 3) * 1000, labels)))
    assert verdict.failed
    assert "rnn" in verdict.sites


def test_pixels_divided_twice_fail(verdict_on, labels):
    verdict = verdict_on(lambda: recipe_of(cnn(), (pixels() / 255 / 255, labels)))
    assert verdict.failed
    assert "twice" in verdict.cause


def test_validation_inputs_of_another_scale_fail(verdict_on, labels):
    val = TensorDataset(torch.rand(N, 12) * 255, labels)
    verdict = verdict_on(lambda: recipe_of(mlp(), (torch.rand(N, 12), labels), val_data=val))
    assert verdict.failed
    assert "val_data" in verdict.because


# -- advice -------------------------------------------------------------------------------------


def advice_on(verdict_on, inputs, targets, **facts):
    verdict = verdict_on(lambda: recipe_of(mlp(), (inputs, targets), **facts))
    assert verdict.outcome is Outcome.PASSED
    return " ".join(verdict.advice)


def test_imbalance_is_advice_unless_it_is_weighed(verdict_on):
    targets = (torch.arange(N) % 128 == 0).long()
    inputs = torch.randn(N, 12)
    assert "127 times" in advice_on(verdict_on, inputs, targets)
    weighed = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 100.0, 1.0, 1.0]))
    assert not advice_on(verdict_on, inputs, targets, loss=weighed)
    sampler = WeightedRandomSampler(torch.where(targets == 1, 127.0, 1.0), N)
    loader = DataLoader(TensorDataset(inputs, targets), 32, sampler=sampler)
    assert not verdict_on(lambda: recipe_of(mlp(), loader)).advice


def test_classes_that_never_occur_are_advice(verdict_on, labels):
    targets = labels.clamp(max=2)
    targets[targets == 1] = 3
    assert "never occur" in advice_on(verdict_on, torch.randn(N, 12), targets)


def test_counts_need_not_come_equally_often(verdict_on):
    torch.manual_seed(0)
    counts = torch.poisson(torch.full((N, 1), 4.0)).clamp(max=18)
    counts[0], counts[counts == 7] = 18, 6
    data, loss = (torch.randn(N, 12), counts), nn.PoissonNLLLoss()
    verdict = verdict_on(lambda: recipe_of(mlp(outputs=1), data, loss))
    assert verdict.outcome is Outcome.PASSED
    assert "class" not in " ".join(verdict.advice)


def test_duplicates_are_advice(verdict_on, labels):
    inputs = torch.randn(40, 12).repeat(7, 1)[:N]
    assert "only 40 of" in advice_on(verdict_on, inputs, labels)


def test_a_label_among_the_features_is_advice(verdict_on, labels):
    inputs = torch.randn(N, 12)
    inputs[:, 7] = labels.float()
    assert "feature 7 of input equals the target" in advice_on(verdict_on, inputs, labels)


def test_images_that_are_normalised_twice_are_advice(verdict_on, labels):
    images = ((torch.rand(N, 1, 8, 8) - 0.5) / 0.29 - 0.5) / 0.29
    verdict = verdict_on(lambda: recipe_of(cnn(), (images, labels)))
    assert verdict.outcome is Outcome.PASSED
    assert "normalised twice" in verdict.advice[0]


def test_a_constant_column_is_advice(verdict_on, labels):
    inputs = torch.randn(N, 12)
    inputs[:, 4] = 1
    assert "1 of 12 features" in advice_on(verdict_on, inputs, labels)


# -- too small, and inverted --------------------------------------------------------------------


def test_inputs_that_vanish_are_to_blame_if_a_batch_is_not_learned(verdict_on, labels):
    inputs = torch.randn(N, 12)
    verdict = verdict_on(lambda: recipe_of(mlp(), (1e-5 * inputs, labels)))
    assert verdict.failed
    assert "scaled down too far" in verdict.cause
    for scale in (1, 0.03):
        assert not verdict_on(lambda: recipe_of(mlp(), (scale * inputs, labels))).failed  # noqa: B023


def test_small_inputs_that_are_normalised_are_sound(verdict_on, labels):
    inputs = 0.015 * torch.randn(N, 12)
    norm = nn.BatchNorm1d(12)
    assert not verdict_on(lambda: recipe_of(mlp(12, 4, norm), (inputs, labels))).failed


def test_inverted_validation_inputs_are_found(verdict_on, labels):
    images = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8) * torch.rand(N, 1, 8, 8)

    def factory(val):
        return recipe_of(cnn(), (images[:128], labels[:128]), val_data=(val, labels[128:]))

    assert "inverted" in verdict_on(lambda: factory(1 - images[128:])).cause
    assert not verdict_on(lambda: factory(images[128:])).failed


def test_parts_of_one_standardised_whole_are_not_inverted(verdict_on, labels):
    inputs = torch.randn(N, 40)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)

    def factory():
        return recipe_of(mlp(40), (inputs[:128], labels[:128]), val_data=(inputs[128:], labels[128:]))

    assert not verdict_on(factory).failed


# -- what it costs ------------------------------------------------------------------------------


class Counted(Dataset):
    def __init__(self, size):
        self.size, self.reads = size, 0

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.reads += 1
        return torch.from_numpy(np.random.default_rng(index).normal(size=12)).float(), index % 4


def test_of_ten_million_samples_about_a_thousand_are_read(verdict_on):
    data = Counted(10_000_000)
    loader = DataLoader(data, 32, sampler=torch.utils.data.SequentialSampler(data))
    verdict = verdict_on(lambda: recipe_of(mlp(), loader))
    assert verdict.outcome is Outcome.PASSED
    assert data.reads < 1_200
    assert "1,024 of 10,000,000 samples" in verdict.because or "of 10,000,000" in verdict.because
