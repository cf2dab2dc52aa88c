"""Tabular data, binary labels: benign or malignant from 30 features. One recipe, two widths."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe, recipe


class TumourMLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(30, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, features):
        return self.layers(features).squeeze(-1)


def tumours():
    features, labels = load_breast_cancer(return_X_y=True)
    parts = train_test_split(features, labels, test_size=0.25, stratify=labels, random_state=0)
    train_x, val_x, train_y, val_y = parts
    scaler = StandardScaler().fit(train_x)
    return tuple(
        TensorDataset(
            torch.tensor(scaler.transform(x), dtype=torch.float32),
            torch.tensor(y, dtype=torch.float32),
        )
        for x, y in ((train_x, train_y), (val_x, val_y))
    )


@pytest.mark.parametrize("width", [16, 64])
@recipe
def breast_cancer_mlp(width):
    train, val = tumours()
    model = TumourMLP(width)
    return Recipe(
        model=model,
        train_data=DataLoader(train, batch_size=32, shuffle=True),
        val_data=val,
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 30 -> b",
    )
