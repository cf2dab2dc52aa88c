"""Regularisation and random data: smoothing, mixup, dropout, penalties, augmentation, noisy labels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam
from torch.utils.data import Subset

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader
from .regimes import cnn, net, on_digits


@recipe
def label_smoothing():
    model = cnn()
    return on_digits(
        model, Adam(model.parameters(), lr=2e-3), loss=nn.CrossEntropyLoss(label_smoothing=0.2)
    )


@recipe
def mixup():
    def training_step(model, batch):
        images, labels = batch
        share = torch.distributions.Beta(0.4, 0.4).sample().to(images.device)
        order = torch.randperm(len(images), device=images.device)
        logits = model(share * images + (1 - share) * images[order])
        both = F.cross_entropy(logits, labels), F.cross_entropy(logits, labels[order])
        return share * both[0] + (1 - share) * both[1], logits

    model = cnn()
    return on_digits(model, Adam(model.parameters(), lr=2e-3), loss=None, training_step=training_step)


@recipe
def heavy_dropout():
    model = net(depth=2, width=128, dropout=0.6)
    return on_digits(model, Adam(model.parameters(), lr=2e-3))


@recipe
def l2_in_the_loss():
    model = net(nn.SiLU)

    def training_step(model, batch):
        logits = model(batch[0])
        penalty = sum((p**2).sum() for p in model.parameters())
        return F.cross_entropy(logits, batch[1]) + 1e-3 * penalty, logits

    return on_digits(model, Adam(model.parameters(), lr=3e-3), loss=None, training_step=training_step)


@recipe
def few_noisy_labels():
    """Two hundred digits, a fifth of the labels wrong."""
    images, labels = (part[:200] for part in digits())
    labels = torch.where(torch.arange(200) % 5 == 0, (labels + 3) % 10, labels)
    model = cnn()
    return Recipe(
        model=model,
        train_data=loader(images, labels, batch_size=20),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=1e-3),
        shapes="b 1 8 8 -> b 10",
    )


@recipe
def augmented_data_set():
    """A data set that shifts and disturbs its images at random."""
    images, labels = digits()

    class Shifted(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, i):
            image = images[i].roll(tuple(torch.randint(-1, 2, (2,)).tolist()), (1, 2))
            return image + 0.1 * torch.randn(1, 8, 8), labels[i]

    model = cnn()
    return Recipe(
        model=model,
        train_data=Subset(Shifted(), range(1500)),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
    )


@recipe
def sharpness_aware():
    """SAM: the gradient is taken a small way uphill, inside the training step."""
    model = net(nn.ReLU)

    def training_step(model, batch):
        images, labels = batch
        weights = list(model.parameters())
        slopes = torch.autograd.grad(F.cross_entropy(model(images), labels), weights)
        scale = 0.02 / (torch.stack([g.norm() for g in slopes]).norm() + 1e-12)
        moved = {
            name: p + scale * g for (name, p), g in zip(model.named_parameters(), slopes, strict=True)
        }
        logits = torch.func.functional_call(model, moved, (images,))
        return F.cross_entropy(logits, labels), logits

    return on_digits(
        model, SGD(model.parameters(), lr=0.1, momentum=0.9), loss=None, training_step=training_step
    )
