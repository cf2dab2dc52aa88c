"""Detours on purpose: straight-through and reversed gradients, linear bottlenecks, sparse codes."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader, tumours, wines


def images_for(model, optimizer, *, change=lambda images: images, **more):
    """The digits, in two halves, for a classifier."""
    (images, labels), (val_images, val_labels) = halves(*digits())
    return Recipe(
        model=model,
        train_data=loader(change(images), labels, batch_size=64),
        val_data=loader(change(val_images), val_labels, batch_size=128, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        **more,
    )


@recipe
def straight_through_codes():
    """An autoencoder whose code is rounded; the gradient goes through as if it were not."""

    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
            self.decoder = nn.Sequential(nn.Linear(16, 96), nn.ReLU(), nn.Linear(96, 64))

        def forward(self, images):
            code = 3 * torch.tanh(self.encoder(images))
            code = code + (code.round() - code).detach()
            return self.decoder(code).view_as(images)

    model = Rounded()
    (images, _), (val_images, _) = halves(*digits())
    return Recipe(
        model=model,
        train_data=loader(images, images, batch_size=64),
        val_data=(val_images, val_images),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )


class Sign(torch.autograd.Function):
    """The sign, with the gradient of a clipped identity (Courbariaux et al. 2016)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


@recipe
def binary_activations():
    class Binary(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Linear(64, 128), nn.BatchNorm1d(128)
            self.head = nn.Linear(128, 10)

        def forward(self, images):
            return self.head(Sign.apply(self.norm(self.first(images.flatten(1)))))

    model = Binary()
    return images_for(model, Adam(model.parameters(), lr=5e-3), shapes="b 1 8 8 -> b 10")


class Reverse(torch.autograd.Function):
    """Identity, with the gradient's sign turned (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -0.3 * gradient


@recipe
def gradient_reversal():
    """Features that tell the digit and not whether the image was inverted."""

    class Adversarial(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU())
            self.digit, self.domain = nn.Linear(96, 10), nn.Linear(96, 2)

        def forward(self, images):
            features = self.features(images)
            return self.digit(features), self.domain(Reverse.apply(features))

    def loss(outputs, targets):
        return F.cross_entropy(outputs[0], targets[:, 0]) + F.cross_entropy(outputs[1], targets[:, 1])

    model = Adversarial()
    images, labels = digits()
    inverted = torch.arange(len(labels)) % 2
    images = torch.where(inverted.view(-1, 1, 1, 1) == 1, 1 - images, images)
    (train, aims), (val, val_aims) = halves(images, torch.stack([labels, inverted], dim=1))
    return Recipe(
        model=model,
        train_data=loader(train, aims, batch_size=64),
        val_data=(val, val_aims),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def linear_bottlenecks():
    """MobileNet's inverted residuals: a projection without activation, then an expansion."""

    class Inverted(nn.Module):
        def __init__(self, channels, wide):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(channels, wide, 1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU6(),
                nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU6(),
                nn.Conv2d(wide, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            )

        def forward(self, x):
            return x + self.layers(x)

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        Inverted(16, 48),
        Inverted(16, 48),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return images_for(model, AdamW(model.parameters(), lr=5e-3), shapes="b 1 8 8 -> b 10")


@recipe
def factorised_layers():
    """Low-rank linear maps in two factors, with nothing between them."""

    def low_rank(wide, rank, out):
        return nn.Sequential(nn.Linear(wide, rank, bias=False), nn.Linear(rank, out))

    model = nn.Sequential(
        low_rank(30, 6, 64), nn.ReLU(), low_rank(64, 8, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    (features, labels), val = halves(*tumours())
    return Recipe(
        model=model,
        train_data=loader(features, labels),
        val_data=tuple(val),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b 30 -> b 2",
    )


@recipe
def eight_units_at_a_time():
    """A sparse autoencoder: of 128 units the eight strongest stay, the others are zero."""

    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(64, 128), nn.Linear(128, 64)

        def forward(self, images):
            code = self.encoder(images.flatten(1)).relu()
            strongest, which = code.topk(8, dim=1)
            code = torch.zeros_like(code).scatter(1, which, strongest)
            return self.decoder(code).view_as(images)

    model = Sparse()
    (images, _), (val_images, _) = halves(*digits())
    return Recipe(
        model=model,
        train_data=loader(images, images, batch_size=64),
        val_data=(val_images, val_images),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def random_features():
    """A wide random layer that stays as it is, and a linear one on top."""
    model = nn.Sequential(nn.Linear(13, 256), nn.ReLU(), nn.Linear(256, 3))
    model[0].requires_grad_(requires_grad=False)
    (features, labels), val = halves(*wines())
    return Recipe(
        model=model,
        train_data=loader(features, labels),
        val_data=tuple(val),
        loss=nn.CrossEntropyLoss(),
        optimizer=SGD(model[2].parameters(), lr=0.02, momentum=0.9),
        frozen=["0.*"],
    )


class Backbone(nn.Module):
    """A small network with BatchNorm, which stays in eval mode once it is trained."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

    def forward(self, images):
        return self.head(self.features(images))


@cache
def pretrained():
    """The weights of a backbone that has learned whether a digit is odd."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Backbone()
        adam = Adam(model.parameters(), lr=3e-3)
        images, labels = digits()
        for batch, target in loader(images[:900], labels[:900] % 2, batch_size=64):
            adam.zero_grad()
            F.cross_entropy(model(batch), target).backward()
            adam.step()
    return model.state_dict()


@recipe
def frozen_batch_norm_fine_tuned():
    """All weights train at a small rate; BatchNorm's statistics stay those of the pretraining."""

    class FrozenNorm(Backbone):
        def train(self, mode=True):  # noqa: FBT002  nn.Module's own signature
            super().train(mode)
            self.features[1].eval()
            return self

    model = FrozenNorm()
    model.load_state_dict(pretrained())
    nn.init.normal_(model.head[1].weight, std=0.01)
    groups = [
        {"params": model.features.parameters(), "lr": 5e-4},
        {"params": model.head.parameters(), "lr": 5e-3},
    ]
    return images_for(model, Adam(groups), shapes="b 1 8 8 -> b 10", frozen=["*running_*"])


@recipe
def adam_with_a_tiny_epsilon():
    model = Backbone()
    return images_for(model, Adam(model.parameters(), lr=2e-3, eps=1e-12), shapes="b 1 8 8 -> b 10")


@recipe
def adam_with_a_large_epsilon():
    """As some reinforcement and vision recipes have it (EfficientNet's RMSprop: 1e-3)."""
    model = Backbone()
    return images_for(model, Adam(model.parameters(), lr=3e-3, eps=1e-3), shapes="b 1 8 8 -> b 10")
