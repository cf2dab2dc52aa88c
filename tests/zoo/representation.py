"""Models that learn from comparisons: contrastive, metric, self-distilled and distilled ones."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import Dataset

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader


def encoder(outputs=32):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, outputs),
    )


def disturbed(images):
    """A random shift by up to a pixel and some noise, as an augmentation."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return images.roll((down, right), (2, 3)) + 0.1 * torch.randn_like(images)


@recipe
def simclr():
    """Two views of each image agree against all others in the batch."""
    model = encoder()

    def training_step(model, batch):
        views = torch.cat([disturbed(batch[0]), disturbed(batch[0])])
        codes = F.normalize(model(views), dim=1)
        likeness = (codes @ codes.T / 0.2).fill_diagonal_(-1e9)
        half = len(batch[0])
        partner = torch.arange(2 * half, device=codes.device).roll(half)
        return F.cross_entropy(likeness, partner)

    return Recipe(
        model=model,
        train_data=loader(*digits(), batch_size=64, drop_last=True),
        training_step=training_step,
        optimizer=Adam(model.parameters(), lr=1e-3),
        batch_dim=None,
    )


@recipe
def clip_with_temperature():
    """Images and rows of the same digits, matched both ways; the temperature is learned."""

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = encoder(), encoder()
            self.log_scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, upper, lower):
            a, b = F.normalize(self.left(upper), dim=1), F.normalize(self.right(lower), dim=1)
            return self.log_scale.exp() * a @ b.T

    def loss(logits, _):
        here = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, here) + F.cross_entropy(logits.T, here)) / 2

    images, _ = digits()
    model = Pair()
    return Recipe(
        model=model,
        train_data=loader(images, images.flip(3), batch_size=32, drop_last=True),
        forward=lambda model, batch: model(*batch),
        targets=lambda batch: batch[1],
        loss=loss,
        optimizer=AdamW(model.parameters(), lr=1e-3),
        batch_dim=None,
    )


class Triplets(Dataset):
    def __init__(self):
        self.images, self.labels = digits()

    def __len__(self):
        return 1000

    def __getitem__(self, i):
        same = (self.labels == self.labels[i]).nonzero()[:, 0]
        other = (self.labels != self.labels[i]).nonzero()[:, 0]
        picks = same[torch.randint(len(same), ())], other[torch.randint(len(other), ())]
        return self.images[i], self.images[picks[0]], self.images[picks[1]]


@recipe
def triplet():
    model = encoder()
    margin = nn.TripletMarginLoss(margin=1.0)
    return Recipe(
        model=model,
        train_data=Triplets(),
        training_step=lambda model, batch: margin(*(model(images) for images in batch)),
        optimizer=Adam(model.parameters(), lr=1e-3),
    )


@recipe
def siamese():
    """Same digit or not, from the distance of two codes of one network; a contrastive hinge."""

    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder(16)

        def forward(self, left, right):
            return F.pairwise_distance(self.encoder(left), self.encoder(right))

    images, labels = digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    by_label = labels.argsort()
    neighbours = by_label[(by_label.argsort() + 1) % len(labels)]
    mates = torch.where(torch.arange(len(labels)) % 2 == 0, order, neighbours)
    same = (labels == labels[mates]).float()
    data = [((images[i], images[j]), same[i]) for i, j in enumerate(mates.tolist())]

    def loss(distance, same):
        return (same * distance**2 + (1 - same) * F.relu(1 - distance) ** 2).mean()

    model = Siamese()
    return Recipe(
        model=model,
        train_data=torch.utils.data.DataLoader(data, 32, shuffle=True),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=1e-3),
        shapes="b 1 8 8, b 1 8 8 -> b",
    )


@recipe
def byol():
    """An online network predicts its own slow average, which is a module of it and never trained."""

    class Byol(nn.Module):
        def __init__(self):
            super().__init__()
            self.online = encoder()
            self.predictor = nn.Sequential(
                nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)
            )
            self.target = copy.deepcopy(self.online).requires_grad_(requires_grad=False)

        def forward(self, images):
            return self.predictor(self.online(images))

        @torch.no_grad()
        def follow(self):
            for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                slow.lerp_(fast, 0.02)

    def training_step(model, batch):
        model.follow()
        left, right = disturbed(batch[0]), disturbed(batch[0])
        with torch.no_grad():
            aims = model.target(right), model.target(left)
        pairs = zip((model(left), model(right)), aims, strict=True)
        return sum(2 - 2 * F.cosine_similarity(ours, aim, dim=1).mean() for ours, aim in pairs)

    model = Byol()
    learned = [*model.online.parameters(), *model.predictor.parameters()]
    return Recipe(
        model=model,
        train_data=loader(*digits(), batch_size=64, drop_last=True),
        training_step=training_step,
        optimizer=Adam(learned, lr=1e-3),
        batch_dim=None,
    )


@recipe
def distillation():
    """A frozen teacher, trained beforehand, beside a student that the recipe calls its model."""
    (images, labels), _ = halves(*digits())
    teacher = encoder(10)
    adam = Adam(teacher.parameters(), lr=3e-3)
    for x, y in loader(images, labels, batch_size=64):
        adam.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        adam.step()
    teacher.eval().requires_grad_(requires_grad=False)
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def training_step(student, batch):
        x, y = batch
        logits = student(x)
        soft = F.kl_div(
            F.log_softmax(logits / 3, 1), F.softmax(teacher(x) / 3, 1), reduction="batchmean"
        )
        return 9 * 0.7 * soft + 0.3 * F.cross_entropy(logits, y), logits

    return Recipe(
        model=student,
        train_data=loader(images, labels),
        training_step=training_step,
        optimizer=Adam(student.parameters(), lr=3e-3),
    )


@recipe
def arcface():
    """The loss holds the class centres; they are in the optimizer beside the model."""

    class ArcFace(nn.Module):
        def __init__(self):
            super().__init__()
            self.centres = nn.Parameter(torch.randn(10, 32))

        def forward(self, codes, labels):
            cosine = F.linear(F.normalize(codes), F.normalize(self.centres)).clamp(-0.999, 0.999)
            turned = torch.cos(torch.acos(cosine) + 0.2)
            chosen = F.one_hot(labels, 10).bool()
            return F.cross_entropy(16 * torch.where(chosen, turned, cosine), labels)

    model, loss = encoder(), ArcFace()
    sgd = SGD([*model.parameters(), *loss.parameters()], lr=0.05, momentum=0.9)
    return Recipe(
        model=model,
        train_data=digits(),
        loss=loss,
        optimizer=sgd,
        shapes="b 1 8 8 -> b 32",
    )


@recipe
def mean_teacher():
    """Few labels, many images; an averaged copy outside the model gives targets in train mode."""
    model = encoder(10)
    teacher = copy.deepcopy(model).requires_grad_(requires_grad=False)

    def training_step(model, batch):
        x, y = batch
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.05)
            aim = teacher.to(x.device)(disturbed(x)).softmax(1)
        logits = model(disturbed(x))
        known = torch.arange(len(y), device=y.device) < 8
        return F.cross_entropy(logits[known], y[known]) + 3 * F.mse_loss(logits.softmax(1), aim)

    return Recipe(
        model=model,
        train_data=loader(*digits(), batch_size=32, drop_last=True),
        training_step=training_step,
        optimizer=Adam(model.parameters(), lr=2e-3),
        batch_dim=None,
    )
