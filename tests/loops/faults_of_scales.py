"""Inputs at the wrong scale, batches of one, losses that break early; beside those that are meant so."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits
from .faults import fault, train_classifier
from .healthy import Net, mlp


def _bytes():
    images, labels = digits()
    return (images * 255).round(), labels


def _train(model, data, *, rate, compare=F.cross_entropy, batch_size=40, epochs=4, momentum=0.9):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    images, labels = (part[:-90] for part in data)
    for _ in range(epochs):
        model.train()
        for x, y in DataLoader(TensorDataset(images, labels), batch_size, shuffle=True):
            optimizer.zero_grad()
            compare(model(x), y).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        model(data[0][-90:])


def _convolutional(*first):
    return nn.Sequential(*first, nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Flatten(), *_dense(12 * 36, 32))


def _dense(*sizes):
    layers = [nn.Linear(a, b) for a, b in pairwise((*sizes, 10))]
    return [part for layer in layers for part in (layer, nn.ReLU())][:-1]


# -- bytes ----------------------------------------------------------------------------------------


def images_from_zero_to_one():
    _train(_convolutional(), digits(), rate=0.02)


def _rows(times):
    rows, target = diabetes()
    model = mlp(10, 64, 64, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        for x, y in DataLoader(TensorDataset(rows * times, target), 26, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()


def rows_of_unit_scale():
    _rows(1)


@fault(
    rows_of_unit_scale,
    "training_is_stable",
    "parameters_update",
    words=("features that are not scaled",),
)
def rows_in_thousandths():
    _rows(1000)


@fault(images_from_zero_to_one, "training_is_stable", words=("pixels from 0 to 255",))
def bytes_into_a_wide_layer():
    model = nn.Sequential(nn.Flatten(), *_dense(64, 128))
    _train(model, _bytes(), rate=0.03)


@fault(images_from_zero_to_one, "parameters_update", words=("is too high",))
def rate_too_high_for_images_from_zero_to_one():
    _train(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), digits(), rate=25.0
    )


@fault(images_from_zero_to_one, "parameters_update", words=("is too high",))
def rate_too_high_for_bytes_that_the_model_scales():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), *_dense(64, 64))

        def forward(self, x):
            return self.layers(x / 255)

    _train(Scaled(), _bytes(), rate=25.0)


def bytes_that_a_norm_takes_first():
    _train(_convolutional(nn.BatchNorm2d(1)), _bytes(), rate=0.02)


# -- losses that break before they are known -----------------------------------------------------


@fault(train_classifier, "loss_is_sound", words=("log_softmax is missing",))
def raw_scores_until_they_overflow():
    _train(_convolutional(), digits(), rate=0.1, compare=nn.NLLLoss())


@fault(train_classifier, "optimizer_covers_model", words=("left out",))
def layer_left_out_of_a_loop_that_diverges():
    model = nn.Sequential(nn.Flatten(), *_dense(64, 48))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    images, labels = digits()
    for step in range(40):
        optimizer.zero_grad()
        rows = slice(25 * step, 25 * step + 25)
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        (loss * math.inf if step == 30 else loss).backward()
        optimizer.step()


def first_batches_of_a_loop_that_diverges_are_sound():
    """It breaks, and nothing that was seen before is to blame."""
    model = _convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = digits()
    for step in range(20):
        optimizer.zero_grad()
        rows = slice(25 * step, 25 * step + 25)
        F.nll_loss(model(images[rows]).log_softmax(1), labels[rows]).backward()
        optimizer.step()


# -- batches of one -------------------------------------------------------------------------------


def _normalised(norm):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), norm(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), norm(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def _few(count):
    images, labels = digits()
    return images[: count + 90], labels[: count + 90]


def batches_of_many_and_batch_norm():
    _train(_normalised(nn.BatchNorm2d), digits(), rate=0.02, epochs=1)


@fault(batches_of_many_and_batch_norm, "modes_are_right", words=("batches of 1 sample",), advice=True)
def batches_of_one_and_batch_norm():
    _train(_normalised(nn.BatchNorm2d), _few(90), rate=0.002, batch_size=1, epochs=1)


@fault(batches_of_many_and_batch_norm, "modes_are_right", words=("batches of 2 samples",), advice=True)
def batches_of_two_that_are_gathered():
    model = _normalised(nn.BatchNorm2d)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for i, (x, y) in enumerate(DataLoader(TensorDataset(*_few(70)), 2, shuffle=True)):
        (F.cross_entropy(model(x), y) / 4).backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


def batches_of_one_and_group_norm():
    _train(
        _normalised(lambda width: nn.GroupNorm(4, width)), _few(90), rate=0.002, batch_size=1, epochs=1
    )


def batches_of_one_and_instance_norm():
    norm = lambda width: nn.InstanceNorm2d(width, affine=True, track_running_stats=True)  # noqa: E731
    _train(_normalised(norm), _few(90), rate=0.002, batch_size=1, epochs=1)


def batches_of_one_by_their_own_statistics():
    norm = lambda width: nn.BatchNorm2d(width, track_running_stats=False)  # noqa: E731
    _train(_normalised(norm), _few(90), rate=0.002, batch_size=1, epochs=1)


def last_batch_is_of_one():
    _train(_normalised(nn.BatchNorm2d), _few(97), rate=0.02, batch_size=32, epochs=3)


def frozen_norms_and_batches_of_one():
    model = _normalised(nn.BatchNorm2d)
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for x, y in DataLoader(TensorDataset(*_few(0)), 1, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def plain_loop():
    _train(Net(), digits(), rate=0.02, epochs=1)


QUIET = [
    bytes_that_a_norm_takes_first,
    first_batches_of_a_loop_that_diverges_are_sound,
    batches_of_one_and_group_norm,
    batches_of_one_and_instance_norm,
    batches_of_one_by_their_own_statistics,
    last_batch_is_of_one,
    frozen_norms_and_batches_of_one,
    plain_loop,
]
"""Loops that are meant so."""
WITHOUT_ADVICE = [
    batches_of_one_and_group_norm,
    batches_of_one_and_instance_norm,
    batches_of_one_by_their_own_statistics,
    last_batch_is_of_one,
    frozen_norms_and_batches_of_one,
]
"""Of which nothing is to be said of their batches, either."""
