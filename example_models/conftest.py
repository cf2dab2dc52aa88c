"""Data for the examples: shipped inside scikit-learn, so that nothing is ever downloaded."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset


class Splits(NamedTuple):
    train: TensorDataset
    val: TensorDataset


def split_digits() -> Splits:
    """1,797 handwritten digits, ``1 8 8`` in [0, 1], four fifths of them for training."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).div(16).view(-1, 1, 8, 8)
    train, val = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    labels = torch.tensor(labels)
    return Splits(
        TensorDataset(images[train], labels[train]),
        TensorDataset(images[val], labels[val]),
    )


@pytest.fixture(scope="session")
def digits() -> Splits:
    """A fixture like any other: a recipe's factory asks for it by name."""
    return split_digits()
