"""Loops whose validation data are normalised otherwise than the training data, or seem to be."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_sample_images, load_wine
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .faults import fault
from .healthy import mlp


def _fit(model, train_loader, val_loader, *, epochs=4):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            sum(F.cross_entropy(model(x), y).item() for x, y in val_loader)


def _loaders(train, val):
    sets = (TensorDataset(*(torch.as_tensor(part) for part in both)) for both in (train, val))
    return [DataLoader(data, 32, shuffle=i == 0) for i, data in enumerate(sets)]


def _table(load, scaler, *, of_both):
    """Columns of many units; half of the rows are held out."""
    found = load(return_X_y=True)
    order = torch.randperm(len(found[0])).numpy()
    rows, kinds = (part[order] for part in found)
    half = len(rows) // 2
    known = scaler.fit_transform(rows[:half]).astype("float32")
    later = scaler.transform(rows[half:]) if of_both else rows[half:]
    model = mlp(rows.shape[1], 32, int(kinds.max()) + 1)
    _fit(model, *_loaders((known, kinds[:half]), (later.astype("float32"), kinds[half:])))


def tumours_standardised():
    _table(load_breast_cancer, StandardScaler(), of_both=True)


@fault(tumours_standardised, "inputs_keep_their_scale", words=("normalised otherwise",))
def tumours_of_which_half_are_standardised():
    _table(load_breast_cancer, StandardScaler(), of_both=False)


def wine_between_bounds():
    _table(load_wine, MinMaxScaler(), of_both=True)


@fault(wine_between_bounds, "inputs_keep_their_scale", words=("normalised otherwise",))
def wine_of_which_half_is_between_bounds():
    _table(load_wine, MinMaxScaler(), of_both=False)


MEANS, SPREADS = (torch.tensor(each)[:, None, None] for each in ((0.47, 0.43, 0.4), (0.2, 0.24, 0.3)))


class Pictures(Dataset):
    """Cuttings of two photographs as bytes, made to numbers as they are read."""

    def __init__(self, part, *transforms):
        photographs = [torch.from_numpy(each.copy()) for each in load_sample_images().images]
        cut = [each.unfold(0, 8, 16).unfold(1, 8, 16).reshape(-1, 3, 8, 8) for each in photographs]
        order = torch.randperm(2 * len(cut[0]), generator=torch.Generator().manual_seed(0))[part]
        self.images = torch.cat(cut)[order]
        self.labels = (order >= len(cut[0])).long()
        self.transforms = transforms

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i].float() / 255
        for transform in self.transforms:
            image = transform(image)
        return image, self.labels[i]


def _normalise(image):
    return (image - MEANS) / SPREADS


def _net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))


def _pictures(*, both):
    train = Pictures(slice(0, 1200), _normalise)
    val = Pictures(slice(1200, None), *([_normalise] if both else []))
    model = _net()
    _fit(model, DataLoader(train, 40, shuffle=True), DataLoader(val, 40), epochs=2)


def pictures_normalised():
    _pictures(both=True)


@fault(pictures_normalised, "inputs_keep_their_scale", words=("normalised otherwise",))
def pictures_of_which_some_are_normalised():
    _pictures(both=False)


# -- healthy neighbours ---------------------------------------------------------------------------


def a_wider_range_is_asked_about():
    """Four columns of one unit, and how far the answers go beyond it."""
    rows = torch.rand(600, 4)
    kinds = (rows.sum(1) > 2).long()
    far = torch.rand(200, 4) * 30 - 10
    _fit(mlp(4, 32, 2), *_loaders((rows, kinds), (far, (far.sum(1) > 2).long())))


def darker_pictures_are_asked_about():
    train = Pictures(slice(0, 1200))
    val = Pictures(slice(1200, None), lambda image: (image * 255 // 3) / 255)
    model = _net()
    _fit(model, DataLoader(train, 40, shuffle=True), DataLoader(val, 40), epochs=2)


def pictures_that_are_jittered():
    """Noise and contrast in training alone, as augmentation is."""
    train = Pictures(
        slice(0, 1200),
        lambda image: image * (0.6 + 0.8 * torch.rand(())) + 0.02 * torch.randn(image.shape),
    )
    model = _net()
    _fit(model, DataLoader(train, 40, shuffle=True), DataLoader(Pictures(slice(1200, None)), 40))


QUIET = [a_wider_range_is_asked_about, darker_pictures_are_asked_about, pictures_that_are_jittered]
