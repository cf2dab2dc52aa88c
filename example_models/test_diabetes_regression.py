"""Regression: the progression of diabetes after a year, from ten measurements of 442 patients."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe, recipe


class DiabetesMLP(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, width), nn.Tanh())
        self.head = nn.Linear(width, 1)

    def forward(self, features):
        return self.head(self.body(features)).squeeze(1)


def patients():
    """Features and progression, each with mean 0 and standard deviation 1."""
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    train_x, val_x, train_y, val_y = (
        torch.tensor(part, dtype=torch.float32)
        for part in train_test_split(features, progression, test_size=0.25, random_state=0)
    )
    train = standardised(train_x, like=train_x), standardised(train_y, like=train_y)
    val = standardised(val_x, like=train_x), standardised(val_y, like=train_y)
    return train, val


def standardised(values, like):
    return (values - like.mean(0)) / like.std(0)


def mean_absolute_error(outputs, targets):
    return (outputs - targets).abs().mean().item()


@pytest.mark.dlcheck(steps=120)
@recipe
def diabetes_regression():
    train, val = patients()
    model = DiabetesMLP()
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*train), batch_size=32, shuffle=True),
        val_data=val,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        metrics={"mean_absolute_error": mean_absolute_error},
        shapes="b 10 -> b",
    )
