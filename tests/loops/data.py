"""Real data that scikit-learn ships, ready for loops."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of shape ``[1, 8, 8]`` in [0, 1], and their digits."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)


@cache
def tumours() -> tuple[Tensor, Tensor]:
    """569 rows of 30 standardised features, and 0 or 1."""
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = torch.tensor((rows - rows.mean(0)) / rows.std(0), dtype=torch.float32)
    return rows, torch.tensor(labels, dtype=torch.float32)


@cache
def diabetes() -> tuple[Tensor, Tensor]:
    """442 rows of 10 standardised features, and a standardised target of shape ``[1]``."""
    rows, target = load_diabetes(return_X_y=True, scaled=True)
    rows = torch.tensor(rows * 21, dtype=torch.float32)
    return rows, torch.tensor((target - target.mean()) / target.std(), dtype=torch.float32).view(-1, 1)


def loaders(batch_size: int = 64, train: int = 1000) -> tuple[DataLoader, DataLoader]:
    """Digits: a shuffled training loader and a validation loader."""
    images, labels = digits()
    return (
        DataLoader(TensorDataset(images[:train], labels[:train]), batch_size, shuffle=True),
        DataLoader(TensorDataset(images[1000:1500], labels[1000:1500]), batch_size),
    )
