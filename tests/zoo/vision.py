"""Image classifiers of torchvision, as they are, on digits and photographs at small resolution."""

from __future__ import annotations

import pytest
import torch
import torchvision.models as tv
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from pytest_dlcheck import Recipe, recipe

from .data import halves, loader, photo_patches, pictures


def classifier(model, optimizer, *, batch_size=16, size=32, **more):
    """The model learning the ten digits."""
    train, val = halves(*pictures(size))
    return Recipe(
        model=model,
        train_data=loader(*train, batch_size=batch_size),
        val_data=loader(*val, batch_size=64, shuffle=False),
        **{"loss": nn.CrossEntropyLoss(), "shapes": "b 3 32 32 -> b 10", **more},
        optimizer=optimizer,
    )


@pytest.mark.dlcheck(steps=40)
@recipe
def resnet18():
    model = tv.resnet18(num_classes=10)
    sgd = SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return classifier(model, sgd, scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 200))


@pytest.mark.dlcheck(steps=40)
@recipe
def resnet18_zero_init_residual():
    model = tv.resnet18(num_classes=10, zero_init_residual=True)
    return classifier(model, AdamW(model.parameters(), lr=1e-3), batch_size=8)


class SmallVGG(nn.Module):
    """VGG as people use it on 32x32 images: one linear layer behind the features."""

    def __init__(self, features):
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(512, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.mark.dlcheck(steps=60)
@recipe
def vgg11():
    model = SmallVGG(tv.vgg11().features)
    return classifier(model, Adam(model.parameters(), lr=3e-4))


@pytest.mark.dlcheck(steps=40)
@recipe
def vgg11_bn():
    model = SmallVGG(tv.vgg11_bn().features)
    return classifier(model, SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4))


@pytest.mark.dlcheck(steps=40)
@recipe
def squeezenet():
    """Photographs at 64x64: on smaller ones its last ReLU hardly ever wakes."""
    (patches, photo), _ = halves(*photo_patches(64))
    model = tv.squeezenet1_1(num_classes=2)
    return Recipe(
        model=model,
        train_data=loader((patches - 0.4) / 0.25, photo, batch_size=16),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=1e-4),
        shapes="b 3 h w -> b 2",
    )


@pytest.mark.dlcheck(steps=50)
@recipe
def mobilenet_v2():
    model = tv.mobilenet_v2(num_classes=10)
    return classifier(model, AdamW(model.parameters(), lr=1e-3, weight_decay=4e-5), batch_size=32)


@pytest.mark.dlcheck(steps=50)
@recipe
def mobilenet_v3_small():
    model = tv.mobilenet_v3_small(num_classes=10)
    return classifier(model, AdamW(model.parameters(), lr=2e-3, weight_decay=0.01), batch_size=32)


@pytest.mark.dlcheck(steps=20)
@recipe
def densenet121():
    model = tv.densenet121(num_classes=10)
    return classifier(model, SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True))


@recipe
def shufflenet():
    model = tv.shufflenet_v2_x0_5(num_classes=10)
    return classifier(model, AdamW(model.parameters(), lr=2e-3), batch_size=32)


@pytest.mark.dlcheck(steps=40)
@recipe
def efficientnet_b0():
    model = tv.efficientnet_b0(num_classes=10)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    return classifier(model, AdamW(model.parameters(), lr=2e-3), loss=loss)


@pytest.mark.dlcheck(steps=60)
@recipe
def mnasnet():
    model = tv.mnasnet0_5(num_classes=10)
    return classifier(model, AdamW(model.parameters(), lr=2e-3), batch_size=32)


@pytest.mark.dlcheck(steps=50)
@recipe
def regnet():
    model = tv.regnet_y_400mf(num_classes=10)
    return classifier(model, AdamW(model.parameters(), lr=1e-3, weight_decay=5e-5), batch_size=32)


@recipe
def convnext():
    blocks = [CNBlockConfig(32, 64, 1), CNBlockConfig(64, 128, 2), CNBlockConfig(128, None, 1)]
    model = ConvNeXt(blocks, stochastic_depth_prob=0.1, num_classes=10)
    return classifier(model, AdamW(model.parameters(), lr=2e-3, weight_decay=0.05))


@recipe
def vit():
    model = tv.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=3,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=10,
    )
    adam = AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1.0, step / 20))
    return classifier(model, adam, scheduler=warm, max_grad_norm=1.0, batch_size=32)


@recipe
def swin():
    model = tv.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[4, 4],
        num_classes=10,
    )
    return classifier(model, AdamW(model.parameters(), lr=1e-3), shapes=None)


@pytest.mark.dlcheck(steps=25)
@recipe
def googlenet():
    """Three outputs in train mode, one in eval mode."""
    model = tv.googlenet(num_classes=10, aux_logits=True, init_weights=False)

    def loss(outputs, labels):
        if isinstance(outputs, torch.Tensor):
            return F.cross_entropy(outputs, labels)
        main, second, first = (F.cross_entropy(logits, labels) for logits in outputs)
        return main + 0.3 * (first + second)

    return classifier(model, Adam(model.parameters(), lr=1e-3), loss=loss, shapes=None)


@recipe
def photo_cnn():
    """Two photographs told apart by their patches, flipped at random in the loop."""
    train, val = halves(*photo_patches())
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 2),
    )

    def training_step(model, batch):
        images, labels = batch
        if torch.rand(()) < 0.5:
            images = images.flip(-1)
        logits = model(images)
        return F.cross_entropy(logits, labels), logits

    return Recipe(
        model=model,
        train_data=loader(*train),
        val_data=loader(*val),
        training_step=training_step,
        optimizer=Adam(model.parameters(), lr=1e-3),
    )
