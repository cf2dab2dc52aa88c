"""The zoo's food: the real data that ships with scikit-learn, as tensors. Nothing is downloaded."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_linnerud,
    load_sample_images,
    load_wine,
)
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def loader(*tensors, batch_size=32, shuffle=True, **more):
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=shuffle, **more)


def halves(*tensors, share=0.8):
    """The tensors' first part and the rest, by a fixed permutation of the samples."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(tensors[0])))
    cut = int(share * len(order))
    return [t[order[:cut]] for t in tensors], [t[order[cut:]] for t in tensors]


@cache
def digits():
    """1,797 handwritten digits as grey images in 0..1 [n, 1, 8, 8], and their labels [n]."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)


@cache
def pictures(size=32):
    """The digits as normalised colour images [n, 3, size, size], and their labels."""
    images, labels = digits()
    images = F.interpolate(images, (size, size), mode="bilinear").expand(-1, 3, -1, -1)
    return (images - 0.3) / 0.35, labels


@cache
def photo_patches(size=32, stride=16):
    """Patches of two photographs in 0..1 [n, 3, size, size], and which photograph each is from [n]."""
    patches = []
    for image in load_sample_images().images:
        photo = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1) / 255
        photo = F.avg_pool2d(photo, 2)
        cut = photo.unfold(1, size, stride).unfold(2, size, stride)
        patches.append(cut.permute(1, 2, 0, 3, 4).reshape(-1, 3, size, size))
    labels = torch.cat([torch.full((len(p),), i) for i, p in enumerate(patches)])
    return torch.cat(patches), labels


def _table(bunch, dtype):
    features, targets = bunch
    scaled = (features - features.mean(0)) / features.std(0)
    return torch.tensor(scaled, dtype=torch.float32), torch.tensor(targets, dtype=dtype)


@cache
def tumours():
    """569 tumours: standardised features [n, 30], malignant or benign [n] (0, 1)."""
    return _table(load_breast_cancer(return_X_y=True), torch.long)


@cache
def wines():
    """178 wines: standardised features [n, 13], cultivar [n] (0..2)."""
    return _table(load_wine(return_X_y=True), torch.long)


@cache
def patients():
    """442 diabetes patients: standardised features [n, 10], progression [n] (25..346, mean 152)."""
    return _table(load_diabetes(return_X_y=True), torch.float32)


@cache
def athletes():
    """20 men: standardised exercises [20, 3] and body measures [20, 3]."""
    exercises, bodies = load_linnerud(return_X_y=True)
    standard = [(x - x.mean(0)) / x.std(0) for x in (exercises, bodies)]
    return tuple(torch.tensor(x, dtype=torch.float32) for x in standard)


@cache
def prose():
    """scikit-learn's data set descriptions: (codes of characters, alphabet size, page of each)."""
    folder = files("sklearn.datasets") / "descr"
    pages = [
        page.read_text(encoding="utf-8").encode("ascii", "ignore").decode().lower()
        for page in sorted(folder.iterdir(), key=str)
        if page.name.endswith(".rst")
    ]
    alphabet = {char: i for i, char in enumerate(sorted(set("".join(pages))))}
    codes = [torch.tensor([alphabet[char] for char in page]) for page in pages]
    pages_of = torch.cat([torch.full((len(c),), i) for i, c in enumerate(codes)])
    return torch.cat(codes), len(alphabet), pages_of


def windows(length, stride=None):
    """Stretches of prose [n, length], and the page each starts on [n]."""
    codes, _, pages = prose()
    stride = stride or length
    return codes.unfold(0, length, stride), pages[: len(codes) - length + 1 : stride]
