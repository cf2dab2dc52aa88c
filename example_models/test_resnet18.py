"""torchvision's ResNet-18, from scratch on images of 8 × 8 pixels, with a one-cycle schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from pytest_dlcheck import Recipe, recipe

STEPS = 50


def small_image_resnet18():
    """A stem that keeps all 8 × 8 pixels: stride 1, no pooling, one channel."""
    model = resnet18(weights=None, num_classes=10)
    model.conv1 = nn.Conv2d(1, 64, kernel_size=3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


@pytest.mark.dlcheck(steps=STEPS)
@recipe
def resnet18_on_digits(digits):
    model = small_image_resnet18()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    return Recipe(
        model=model,
        train_data=DataLoader(digits.train, batch_size=32, shuffle=True, drop_last=True),
        val_data=DataLoader(digits.val, batch_size=128),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=STEPS),
        shapes="b 1 8 8 -> b 10",
    )
