"""An LSTM that reads a digit row by row, as a sequence of eight steps with eight features."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe


class RowReader(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.lstm = nn.LSTM(input_size=8, hidden_size=width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        hidden, _ = self.lstm(images.squeeze(1))
        return self.head(hidden[:, -1])


@pytest.mark.dlcheck(steps=100)
@recipe
def row_reader(digits):
    model = RowReader()
    return Recipe(
        model=model,
        train_data=DataLoader(digits.train, batch_size=64, shuffle=True),
        val_data=DataLoader(digits.val, batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=1.0,
        shapes="b 1 8 8 -> b 10",
    )
