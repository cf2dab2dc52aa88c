"""Images to images and boxes: segmentation, detection, super-resolution, image-shaped outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader, Dataset
from torchvision.models import mobilenet_v3_small
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation.lraspp import LRASPP
from torchvision.ops import MultiScaleRoIAlign

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader, photo_patches, pictures


def conv(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class UNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.inner, self.down = conv(3, 16), conv(16, 32, stride=2)
        self.bottom = conv(32, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.out = nn.Sequential(conv(32, 16), nn.Conv2d(16, classes, 1))

    def forward(self, x):
        skip = self.inner(x)
        return self.out(torch.cat([skip, self.up(self.bottom(self.down(skip)))], dim=1))


def masks():
    """Digits with the class of every pixel: 0 for paper, 1 + label where there is ink."""
    images, labels = pictures()
    ink = images[:, 0] > 0
    return images, ink * (labels + 1)[:, None, None]


@recipe
def unet_pixel_classes():
    model = UNet(11)
    return Recipe(
        model=model,
        train_data=loader(*masks(), batch_size=8),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 3 h w -> b 11 h w",
    )


@recipe
def unet_soft_dice():
    """One mask per image; dice and cross-entropy are averaged."""
    images, classes = masks()
    model = UNet(1)

    def loss(logits, ink):
        share = torch.sigmoid(logits)
        overlap = (share * ink).sum((1, 2, 3))
        dice = (2 * overlap + 1) / (share.sum((1, 2, 3)) + ink.sum((1, 2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(logits, ink) + (1 - dice).mean()

    return Recipe(
        model=model,
        train_data=loader(images, (classes > 0).float()[:, None], batch_size=8),
        loss=loss,
        optimizer=AdamW(model.parameters(), lr=2e-3),
    )


@pytest.mark.dlcheck(steps=30)
@recipe
def lraspp_dict_outputs():
    images, classes = masks()
    features = mobilenet_v3_small().features
    model = LRASPP(
        IntermediateLayerGetter(features, {"1": "low", "8": "high"}),
        low_channels=16,
        high_channels=48,
        num_classes=11,
    )
    return Recipe(
        model=model,
        train_data=loader(images, classes, batch_size=8),
        loss=lambda outputs, targets: F.cross_entropy(outputs["out"], targets),
        optimizer=AdamW(model.parameters(), lr=2e-3),
        shapes="b 3 h w -> out: b 11 h w",
    )


class DigitScenes(Dataset):
    """A digit somewhere on a 64x64 canvas, with its box and class."""

    def __len__(self):
        return 500

    def __getitem__(self, i):
        images, labels = pictures(24)
        place = torch.Generator().manual_seed(i)
        x, y = torch.randint(0, 40, (2,), generator=place).tolist()
        canvas = torch.zeros(3, 64, 64)
        canvas[:, y : y + 24, x : x + 24] = images[i] * 0.35 + 0.3
        box = torch.tensor([[x, y, x + 24.0, y + 24.0]])
        return canvas, {"boxes": box, "labels": labels[i : i + 1] + 1}


@pytest.mark.dlcheck(steps=30)
@recipe
def faster_rcnn():
    """Losses in train mode, detections in eval mode; batches are lists."""
    backbone = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2), conv(32, 32))
    backbone.out_channels = 32
    model = FasterRCNN(
        backbone,
        num_classes=11,
        min_size=64,
        max_size=64,
        rpn_post_nms_top_n_train=100,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=64,
        rpn_anchor_generator=AnchorGenerator(((16, 24, 32),), ((0.7, 1.0, 1.4),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=4, sampling_ratio=2),
    )

    def training_step(model, batch):
        images, targets = batch
        return sum(model(images, targets).values())

    return Recipe(
        model=model,
        train_data=DataLoader(
            DigitScenes(),
            batch_size=4,
            shuffle=True,
            collate_fn=lambda items: tuple(zip(*items, strict=True)),
        ),
        training_step=training_step,
        optimizer=SGD(model.parameters(), lr=0.01, momentum=0.9),
        batch_dim=None,
    )


@recipe
def super_resolution():
    """The model learns what a bilinear enlargement lacks."""
    patches, _ = photo_patches()

    class Upscaler(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 32, 5, padding=2), nn.PReLU(), nn.Conv2d(32, 12, 3, padding=1)
            )

        def forward(self, small):
            large = F.interpolate(small, scale_factor=2.0, mode="bilinear")
            return large + F.pixel_shuffle(self.body(small), 2)

    model = Upscaler()
    return Recipe(
        model=model,
        train_data=loader(F.avg_pool2d(patches, 2), patches, batch_size=16),
        loss=nn.L1Loss(),
        optimizer=Adam(model.parameters(), lr=1e-3),
        shapes="b 3 16 16 -> b 3 32 32",
    )


@recipe
def keypoint_heatmaps():
    """Where the ink's centre of mass is, as a heat map."""
    images, _ = digits()
    grid = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))
    centre = (images * grid).sum((2, 3)) / images.sum((2, 3))
    heat = torch.exp(-((grid - centre[:, :, None, None]) ** 2).sum(1, keepdim=True) / 2)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 1, 1),
    )
    return Recipe(
        model=model,
        train_data=(images, heat),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )
