"""Transfer learning: a frozen torchvision backbone and a new head, trained on digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models import ResNet18_Weights, resnet18

from pytest_dlcheck import Recipe, recipe

WEIGHTS = ResNet18_Weights.IMAGENET1K_V1


def pretrained_backbone():
    """ImageNet's weights where they lie in torch's cache; random ones, just as frozen, where not.

    A test does not download: fetch them once with `resnet18(weights=WEIGHTS)`.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(WEIGHTS.url).name
    backbone = resnet18(weights=WEIGHTS if cached.exists() else None)
    backbone.fc = nn.Identity()
    return backbone


class Transfer(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = pretrained_backbone().requires_grad_(requires_grad=False)
        self.head = nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 10))

    def train(self, mode=True):  # noqa: FBT002  nn.Module's own signature
        """Train the head only: in train mode the backbone's BatchNorm would move its statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images):
        images = F.interpolate(images, size=32, mode="bilinear").expand(-1, 3, -1, -1)
        return self.head(self.backbone((images - 0.45) / 0.225))


@pytest.mark.dlcheck(steps=80)
@recipe
def transfer_to_digits(digits):
    model = Transfer()
    return Recipe(
        model=model,
        train_data=DataLoader(digits.train, batch_size=32, shuffle=True, drop_last=True),
        val_data=DataLoader(digits.val, batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.head.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
        frozen=["backbone.*"],
    )
