"""A small convolutional network on handwritten digits: the recipe to start from."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe


class DigitsCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 4 * 4, 10))

    def forward(self, images):
        return self.head(self.features(images))


@recipe
def digits_cnn(digits):
    model = DigitsCNN()
    return Recipe(
        model=model,
        train_data=DataLoader(digits.train, batch_size=64, shuffle=True),
        val_data=DataLoader(digits.val, batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )
