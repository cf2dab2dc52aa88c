"""Healthy twins that see: a residual network, a U-Net, a ViT, super-resolution, augmentation."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from .case import twin
from .healthy import digits


def conv_norm(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_norm(1, 8)
        self.blocks = nn.Sequential(ResidualBlock(8, 16), nn.MaxPool2d(2), ResidualBlock(16, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


@twin("ResNet", "classification")
def small_resnet() -> Recipe:
    model = SmallResNet()
    return Recipe(
        model=model,
        train_data=DataLoader(digits().train, batch_size=32, shuffle=True, drop_last=True),
        val_data=DataLoader(digits().val, batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4),
        shapes="b 1 8 8 -> b 10",
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = conv_norm(1, 16)
        self.bottom = conv_norm(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.merge = conv_norm(32, 16)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, images):
        fine = self.down(images)
        coarse = self.up(self.bottom(F.max_pool2d(fine, 2)))
        return self.head(self.merge(torch.cat([fine, coarse], dim=1)))


def ink(split, seed):
    """Noisy digits, and which of their pixels hold ink."""
    images = split.tensors[0]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(0.7 * images + 0.15 * noise, (images.squeeze(1) > 0.4).long())


@twin("U-Net", "segmentation")
def unet() -> Recipe:
    model = UNet()
    return Recipe(
        model=model,
        train_data=DataLoader(ink(digits().train, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(ink(digits().val, 1), batch_size=128),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 h w -> b 2 h w",
    )


class ViTBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, width=32, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 17, width))
        self.blocks = nn.Sequential(*(ViTBlock(width, 4) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
        return self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])


@twin("ViT", "classification")
def vit() -> Recipe:
    model = ViT()
    return Recipe(
        model=model,
        train_data=DataLoader(digits().train, batch_size=64, shuffle=True, drop_last=True),
        val_data=DataLoader(digits().val, batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05),
        shapes="b 1 8 8 -> b 10",
    )


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()
        )
        self.upscale = nn.Sequential(nn.Conv2d(32, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, images):
        return self.upscale(self.features(images))


@cache
def crops():
    """Crops of two photographs in two sizes: the upper two thirds to train, the rest to validate."""
    large = torch.tensor(np.stack(load_sample_images().images)).permute(0, 3, 1, 2) / 255
    large = F.interpolate(large, size=(192, 320), mode="area")
    tiles = large.unfold(2, 16, 16).unfold(3, 16, 16).permute(2, 0, 3, 1, 4, 5)
    parts = [part.flatten(0, 2).contiguous() for part in (tiles[:8], tiles[8:])]
    return tuple(TensorDataset(F.avg_pool2d(part, 2) - 0.5, part - 0.5) for part in parts)


@twin("super-resolution CNN", "image restoration")
def super_resolution() -> Recipe:
    train, val = crops()
    model = SuperResolution()
    return Recipe(
        model=model,
        train_data=DataLoader(train, batch_size=32, shuffle=True),
        val_data=DataLoader(val, batch_size=64),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 3 8 8 -> b 3 16 16",
    )


class Jittered(Dataset):
    """Images with a little random noise, drawn anew each time."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        image, label = self.data[i]
        return image + 0.05 * self.noise(image.shape), label

    def noise(self, shape):
        return torch.randn(shape)


class TwoLayerCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv_norm(1, 8), nn.MaxPool2d(2), conv_norm(8, 16))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

    def forward(self, images):
        return self.head(self.features(images))


@twin("CNN", "classification with augmentation")
def augmented_cnn() -> Recipe:
    model = TwoLayerCNN()
    data = Jittered(digits().train)
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=64, shuffle=True, num_workers=2),
        val_data=DataLoader(digits().val, batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )
