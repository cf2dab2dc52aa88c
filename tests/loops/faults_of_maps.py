"""Loops that turn images and not their masks, beside loops that turn both, or turn outputs back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .faults import fault

SAMPLES, SIDE = 240, 16


def scenes():
    """Bright discs on noise, and where they are."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    centres = torch.randint(3, SIDE - 3, (SAMPLES, 2, 1, 1))
    radii = torch.randint(2, 5, (SAMPLES, 1, 1))
    far = (rows - centres[:, 0]).square() + (columns - centres[:, 1]).square()
    masks = (far < radii.square()).float()[:, None]
    return 0.3 * torch.randn(SAMPLES, 1, SIDE, SIDE) + masks, masks


class Scenes(Dataset):
    """Turns what it gives at random, images alone or with their masks, and adds noise to the images."""

    def __init__(self, *, both):
        self.images, self.masks = scenes()
        self.both = both

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1) if self.both else mask
        return image + 0.03 * torch.randn_like(image), mask


def _layers():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    )


class Turning(nn.Module):
    """Turns its images itself."""

    def __init__(self, turn):
        super().__init__()
        self.layers, self.turn = _layers(), turn

    def forward(self, x):
        return self.layers(self.turn(x))


def _trained(data, before=lambda x, y: (x, y), after=lambda scores: scores, loss=None, model=None):
    model = model or _layers()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(2):
        for image, mask in DataLoader(data, 16, shuffle=True):
            x, y = before(image, mask)
            optimizer.zero_grad()
            (loss or F.binary_cross_entropy_with_logits)(after(model(x)), y).backward()
            optimizer.step()


def dice(scores, masks):
    found = scores.sigmoid()
    common = (found * masks).sum((1, 2, 3))
    return 1 - (2 * common / (found.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1e-6)).mean()


def turned_together():
    _trained(Scenes(both=True))


WORDS = ("without their masks",)


@fault(turned_together, "targets_are_aligned", words=WORDS)
def turned_without_their_masks():
    _trained(Scenes(both=False))


@fault(turned_together, "targets_are_aligned", words=WORDS)
def turned_without_their_masks_in_the_loop():
    def some(x, y):
        turns = torch.rand(len(x)) < 0.5
        return torch.where(turns[:, None, None, None], torch.rot90(x, 1, (-2, -1)), x), y

    _trained(TensorDataset(*scenes()), some)


@fault(turned_together, "targets_are_aligned", words=WORDS)
def always_mirrored():
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-2), y))


@fault(turned_together, "targets_are_aligned", words=WORDS)
def turned_beside_a_loss_of_overlap():
    def both(scores, masks):
        return F.binary_cross_entropy_with_logits(scores, masks) + dice(scores, masks)

    _trained(Scenes(both=False), loss=both)


@fault(turned_together, "targets_are_aligned", words=WORDS)
def turned_without_their_classes():
    def classes(scores, masks):
        return F.cross_entropy(torch.cat([-scores, scores], 1), masks[:, 0].long())

    _trained(Scenes(both=False), loss=classes)


def turned_together_in_the_loop():
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-1), y.flip(-1)))


def turned_and_turned_back():
    """What comes of turned images is turned back before it meets the masks."""
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-1), y), lambda scores: scores.flip(-1))


def mirrored_images_are_told():
    """An autoencoder that is to give images as they were before they were turned."""
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-1), x), loss=F.mse_loss)


def bright_places_are_told():
    """The same of images in black and white."""
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-1), (x > 0.5).float()))


def masks_that_have_nothing_to_do_with_their_images():
    images, masks = scenes()
    _trained(TensorDataset(torch.randn_like(images), masks), lambda x, y: (x.flip(-1), y))


def rows_and_columns_are_exchanged_by_the_model():
    """Images that are stored by columns, which the model brings into order itself."""
    _trained(TensorDataset(*scenes()), lambda x, y: (x.mT, y), model=Turning(lambda x: x.mT))


def mirrored_by_the_model():
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-2), y), model=Turning(lambda x: x.flip(-2)))


@fault(mirrored_by_the_model, "targets_are_aligned", words=WORDS)
def mirrored_another_way_by_the_model():
    _trained(TensorDataset(*scenes()), lambda x, y: (x.flip(-2), y), model=Turning(lambda x: x.flip(-1)))


QUIET = [
    *(turned_together_in_the_loop, turned_and_turned_back, mirrored_images_are_told),
    rows_and_columns_are_exchanged_by_the_model,
    *(bright_places_are_told, masks_that_have_nothing_to_do_with_their_images),
]
