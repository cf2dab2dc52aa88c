"""Habits of users: odd loaders, several optimizers, pruning, quantisation, averaging, soft targets."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.optim import SGD, Adam, AdamW, SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader, patients, prose, tumours, windows
from .regimes import cnn, net, on_digits
from .tables import mlp


@recipe
def two_optimizers_one_loss():
    """Sparse embeddings under SparseAdam, everything else under Adam."""
    texts, pages = windows(24)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(prose()[1], 16, sparse=True)
            self.conv, self.head = nn.Conv1d(16, 32, 5), nn.Linear(32, 2)

        def forward(self, codes):
            return self.head(F.relu(self.conv(self.embed(codes).transpose(1, 2))).amax(-1))

    model = Model()
    dense = [*model.conv.parameters(), *model.head.parameters()]
    return Recipe(
        model=model,
        train_data=loader(texts, (pages > pages.median()).long()),
        loss=nn.CrossEntropyLoss(),
        optimizer=[SparseAdam([model.embed.weight], lr=5e-3), Adam(dense, lr=3e-3)],
    )


@recipe
def reduce_on_plateau():
    model = cnn()
    adam = Adam(model.parameters(), lr=3e-3)
    return on_digits(model, adam, scheduler=ReduceLROnPlateau(adam, patience=20, factor=0.5))


@recipe
def endless_stream():
    """An iterable data set that makes its samples up: is the first number the larger one?"""

    class Stream(IterableDataset):
        def __iter__(self):
            while True:
                numbers = torch.randn(2)
                yield numbers, (numbers[0] > numbers[1]).float()

    model = nn.Sequential(mlp(2, 16, 1), nn.Flatten(0))
    return Recipe(
        model=model,
        train_data=DataLoader(Stream(), batch_size=16),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=SGD(model.parameters(), lr=0.2),
    )


@recipe
def averaged_weights():
    """An exponential average beside the model, renewed in the step, only for later use."""
    model = net()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))

    def training_step(model, batch):
        average.update_parameters(model)
        return F.cross_entropy(model(batch[0]), batch[1])

    return on_digits(model, AdamW(model.parameters(), lr=2e-3), loss=None, training_step=training_step)


@recipe
def pruned():
    """Half of the weights are masked out and get no gradient."""
    model = net(width=96)
    for layer in model:
        if isinstance(layer, nn.Linear):
            prune.l1_unstructured(layer, "weight", 0.5)
    return on_digits(model, Adam(model.parameters(), lr=2e-3))


class Signs(torch.autograd.Function):
    """The sign, with a gradient straight through where the input is small."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return slope * (x.abs() <= 1)


@recipe
def binary_weights():
    class Binary(nn.Linear):
        def forward(self, x):
            return F.linear(x, Signs.apply(self.weight) * self.weight.abs().mean(), self.bias)

    model = nn.Sequential(nn.Flatten(), Binary(64, 128), nn.BatchNorm1d(128), nn.ReLU(), Binary(128, 10))
    return on_digits(model, Adam(model.parameters(), lr=3e-3))


@recipe
def bytes_as_images():
    """Images as uint8; the model scales them itself."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = cnn()

        def forward(self, images):
            return self.body(images.float() / 255)

    images, labels = digits()
    model = Model()
    return Recipe(
        model=model,
        train_data=loader((images * 255).round().byte(), labels),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8:uint8 -> b 10",
    )


@recipe
def balanced_sampler():
    """Eights are thinned out to one in ten; a sampler draws them as often as the rest."""
    images, labels = digits()
    keep = (labels != 8) | (torch.arange(len(labels)) % 10 == 0)
    images, rare = images[keep], (labels[keep] == 8).long()
    weights = torch.where(rare == 1, 1 / rare.sum(), 1 / (1 - rare).sum())
    model = cnn()
    model[-1] = nn.Linear(512, 2)
    return Recipe(
        model=model,
        train_data=DataLoader(
            TensorDataset(images, rare), batch_size=32, sampler=WeightedRandomSampler(weights, 2000)
        ),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
    )


@recipe
def soft_targets():
    """Labels as distributions, smoothed by hand."""
    (images, labels), _ = halves(*digits())
    model = net(nn.GELU)
    return Recipe(
        model=model,
        train_data=(images, 0.85 * F.one_hot(labels, 10) + 0.015),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def shares_as_targets():
    """A share between 0 and 1 as the target of a sigmoid."""
    features, progression = patients()
    model = nn.Sequential(mlp(10, 32, 1), nn.Flatten(0))
    return Recipe(
        model=model,
        train_data=(features, progression / 400),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b 10 -> b",
    )


@recipe
def learned_task_weights():
    """Two tasks weighed by log variances that are learned (Kendall); the loss may fall below zero."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(mlp(30, 48), nn.ReLU())
            self.label, self.size = nn.Linear(48, 2), nn.Linear(48, 1)
            self.log_variances = nn.Parameter(torch.zeros(2))

        def forward(self, features):
            hidden = self.body(features)
            return self.label(hidden), self.size(hidden).squeeze(-1), self.log_variances

    def loss(outputs, targets):
        logits, size, (first, second) = outputs
        tasks = F.cross_entropy(logits, targets[0]), F.mse_loss(size, targets[1])
        return (-first).exp() * tasks[0] + first / 2 + (-second).exp() * tasks[1] / 2 + second / 2

    features, labels = tumours()
    data = [(f, (y, f[0])) for f, y in zip(features, labels, strict=True)]
    model = Model()
    return Recipe(
        model=model,
        train_data=DataLoader(data, 32, shuffle=True),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def numbers_and_categories():
    """A table with two categorical columns, embedded, beside its numbers."""
    features, progression = patients()
    sex = (features[:, 1] > 0).long()
    age = torch.bucketize(features[:, 0], torch.tensor([-1.0, 0.0, 1.0]))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.ModuleList((nn.Embedding(2, 4), nn.Embedding(5, 4)))
            self.norm, self.body = nn.BatchNorm1d(8), mlp(16, 32, 1)

        def forward(self, numbers, categories):
            parts = [table(categories[:, i]) for i, table in enumerate(self.embed)]
            return self.body(torch.cat([self.norm(numbers), *parts], 1)).squeeze(1)

    data = [
        ((numbers, codes), target)
        for numbers, codes, target in zip(
            features[:, 2:], torch.stack([sex, age], 1), (progression - 152) / 77, strict=True
        )
    ]
    model = Model()
    return Recipe(
        model=model,
        train_data=DataLoader(data, 32, shuffle=True, drop_last=True),
        loss=nn.SmoothL1Loss(),
        optimizer=AdamW(model.parameters(), lr=5e-3),
        shapes="b 8, b 2:int64 -> b",
    )


@recipe
def deep_supervision():
    """An answer after every block, each scored, the last one counts most; outputs are a list."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(3))
            self.heads = nn.ModuleList(nn.Linear(64, 10) for _ in range(3))

        def forward(self, images):
            x, answers = images.flatten(1), []
            for block, head in zip(self.blocks, self.heads, strict=True):
                x = block(x)
                answers.append(head(x))
            return answers

    def loss(answers, labels):
        return sum(F.cross_entropy(a, labels) * w for a, w in zip(answers, (0.2, 0.3, 1.0), strict=True))

    model = Model()
    return on_digits(model, Adam(model.parameters(), lr=2e-3), loss=loss)


@recipe
def meta_learning():
    """MAML: one inner step on half of the batch, through which the outer loss is differentiated."""
    model = net(nn.Tanh)

    def training_step(model, batch):
        images, labels = batch
        half = len(images) // 2
        weights = dict(model.named_parameters())
        inner = F.cross_entropy(model(images[:half]), labels[:half])
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        moved = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
        logits = torch.func.functional_call(model, moved, (images[half:],))
        return F.cross_entropy(logits, labels[half:])

    return on_digits(
        model, Adam(model.parameters(), lr=2e-3), loss=None, training_step=training_step, batch_dim=None
    )
