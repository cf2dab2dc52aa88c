"""Overlaps of masks, and other bounded likenesses with zeros and ones, that are minimised."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import tumours
from .faults import fault
from .healthy import mlp


def _patches(count):
    """Noisy images with a bright rectangle, and where that is."""
    masks = torch.zeros(count, 1, 12, 12)
    for mask in masks:
        (top, left), (high, wide) = torch.randint(0, 6, (2,)), torch.randint(3, 7, (2,))
        mask[0, top : top + high, left : left + wide] = 1
    return 0.8 * masks + 0.4 * torch.randn(count, 1, 12, 12), masks


def _segment(loss, *, begin=None, epochs=4):
    images, masks = _patches(400)
    model = begin or nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for image, mask in DataLoader(TensorDataset(images, masks), 25, shuffle=True):
            optimizer.zero_grad()
            loss(model(image), mask).backward()
            optimizer.step()
    return model


def _dice(scores, masks):
    chances, masks = scores.sigmoid().flatten(1), masks.flatten(1)
    both = (chances * masks).sum(1)
    return ((2 * both + 1) / (chances.sum(1) + masks.sum(1) + 1)).mean()


def one_minus_dice():
    _segment(lambda scores, masks: 1 - _dice(scores, masks))


@fault(one_minus_dice, "loss_has_a_floor", words=("sign",), advice=True)
def dice_that_is_minimised():
    _segment(_dice)


def _jaccard(scores, masks):
    chances = scores.sigmoid()
    both = (chances * masks).sum()
    return both / (chances + masks - chances * masks).sum()


def minus_jaccard():
    _segment(lambda scores, masks: -_jaccard(scores, masks))


@fault(minus_jaccard, "loss_has_a_floor", words=("sign",), advice=True)
def jaccard_that_is_minimised():
    _segment(_jaccard)


def _malign(loss):
    rows, label = tumours()
    model = mlp(30, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        for row, malign in DataLoader(TensorDataset(rows[:500], label[:500]), 20, shuffle=True):
            optimizer.zero_grad()
            loss(model(row).sigmoid(), malign.float()[:, None]).backward()
            optimizer.step()


def _right(chances, label):
    return (chances * label + (1 - chances) * (1 - label)).mean()


def probability_of_the_wrong_one():
    _malign(lambda chances, label: 1 - _right(chances, label))


@fault(probability_of_the_wrong_one, "loss_has_a_floor", words=("sign",), advice=True)
def probability_of_the_right_one():
    _malign(_right)


def square_loss():
    _malign(F.mse_loss)


@fault(square_loss, "loss_has_a_floor", words=("sign",))
def minus_a_square_loss():
    _malign(lambda chances, label: -F.mse_loss(chances, label))


def _tversky(scores, masks):
    chances = scores.sigmoid()
    false, missed = ((1 - masks) * chances).sum(), (masks * (1 - chances)).sum()
    right = (masks * chances).sum()
    return 1 - right / (right + 0.7 * false + 0.3 * missed)


def tversky_with_false_positives_first():
    """Salehi et al. (2017)."""
    _segment(_tversky)


def _errors(chances, label):
    return (chances * (1 - label) + (1 - chances) * label).mean()


def chances_of_an_error():
    _malign(_errors)


def outside_of_a_box():
    """Weak labels: no place outside of the box is to be found, and one in each row that it has."""

    def loss(scores, masks):
        chances, rows = scores.sigmoid(), masks.amax(3)
        found = chances.amax(3).clamp(1e-6, 1 - 1e-6)
        return (chances * (1 - masks)).mean() + F.binary_cross_entropy(found, rows)

    _segment(loss)


def masks_that_are_unlearned():
    """First learned, then to be forgotten: the overlap is minimised on purpose."""
    model = _segment(lambda scores, masks: 1 - _dice(scores, masks), epochs=2)
    _segment(_dice, begin=copy.deepcopy(model), epochs=3)


def places_that_count():
    """Half of the places of an image are left out of what is to be restored."""
    images, _ = _patches(300)
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        for i in torch.randperm(300).split(25):
            kept = (torch.rand_like(images[i]) < 0.5).float()
            optimizer.zero_grad()
            ((model(images[i] * kept) - images[i]).square() * (1 - kept)).mean().backward()
            optimizer.step()


def pairs_that_are_alike():
    """A one says that two are alike: their distance is to be small (Hadsell et al. 2006)."""
    rows, label = tumours()
    model = mlp(30, 32, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        for i, j in zip(torch.randperm(500).split(20), torch.randperm(500).split(20), strict=True):
            alike = (label[i] == label[j]).float()
            far = 0.5 - 0.5 * F.cosine_similarity(model(rows[i]), model(rows[j]))
            optimizer.zero_grad()
            (alike * far.square() + (1 - alike) * (0.7 - far).relu().square()).mean().backward()
            optimizer.step()


QUIET = [
    outside_of_a_box,
    tversky_with_false_positives_first,
    chances_of_an_error,
    pairs_that_are_alike,
    masks_that_are_unlearned,
    places_that_count,
]
"""None of them may raise an alarm."""
