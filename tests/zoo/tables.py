"""Tables: regression, classification, ranking, on a handful of features."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW

from pytest_dlcheck import Recipe, recipe

from .data import athletes, loader, patients, tumours, wines


def mlp(*sizes, act=nn.ReLU):
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers[:-1])


@recipe
def gaussian_likelihood():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(10, 64, 2)

        def forward(self, features):
            mean, raw = self.body(features).unbind(1)
            return mean, F.softplus(raw) + 1e-3

    features, progression = patients()
    model, likelihood = Model(), nn.GaussianNLLLoss()
    return Recipe(
        model=model,
        train_data=(features, (progression - 152) / 77),
        loss=lambda outputs, targets: likelihood(outputs[0], targets, outputs[1]),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 10 -> b, b",
    )


@recipe
def quantiles():
    model = mlp(10, 32, 3)
    levels = torch.tensor([0.1, 0.5, 0.9])
    features, progression = patients()

    def pinball(outputs, targets):
        gap = targets[:, None] - outputs
        return torch.maximum(levels.to(gap.device) * gap, (levels.to(gap.device) - 1) * gap).mean()

    return Recipe(
        model=model,
        train_data=(features, (progression - 152) / 77),
        loss=pinball,
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b 10 -> b 3",
    )


@recipe
def raw_regression_targets():
    """Nobody scaled the targets (mean 152, deviation 77); Adam with a large rate copes."""
    model = nn.Sequential(mlp(10, 64, 64, 1), nn.Flatten(0))
    return Recipe(
        model=model,
        train_data=patients(),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=1e-2),
        shapes="b 10 -> b",
    )


@recipe
def linear_regression():
    model = nn.Linear(10, 1)
    features, progression = patients()
    return Recipe(
        model=model,
        train_data=(features, (progression[:, None] - 152) / 77),
        loss=nn.MSELoss(),
        optimizer=SGD(model.parameters(), lr=0.05),
    )


@recipe
def logistic_regression():
    model = nn.Linear(30, 1)
    features, labels = tumours()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return Recipe(
        model=model,
        train_data=(features, labels[:, None].float()),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=SGD(model.parameters(), lr=0.1),
        shapes="b 30 -> b 1",
    )


@recipe
def sigmoid_and_bce():
    model = nn.Sequential(mlp(30, 32, 1), nn.Sigmoid(), nn.Flatten(0))
    features, labels = tumours()
    return Recipe(
        model=model,
        train_data=(features, labels.float()),
        loss=nn.BCELoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def log_softmax_and_nll():
    model = nn.Sequential(mlp(13, 32, 3), nn.LogSoftmax(dim=1))
    return Recipe(
        model=model,
        train_data=loader(*wines(), batch_size=16),
        loss=nn.NLLLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 13 -> b 3",
    )


@recipe
def multi_class_hinge():
    model = mlp(13, 32, 3)
    return Recipe(
        model=model,
        train_data=wines(),
        loss=nn.MultiMarginLoss(),
        optimizer=SGD(model.parameters(), lr=0.1, momentum=0.9),
    )


@recipe
def hinge_on_signs():
    model = nn.Linear(30, 1)
    features, labels = tumours()
    return Recipe(
        model=model,
        train_data=(features, 2.0 * labels[:, None] - 1),
        loss=lambda score, sign: F.relu(1 - score * sign).mean(),
        optimizer=SGD(model.parameters(), lr=0.05, weight_decay=1e-3),
    )


@recipe
def weighted_classes():
    """Benign tumours thinned out to one in ten, and weighed up again."""
    features, labels = tumours()
    keep = (labels == 0) | (torch.arange(len(labels)) % 15 == 0)
    model = mlp(30, 32, 2)
    return Recipe(
        model=model,
        train_data=(features[keep], labels[keep]),
        loss=nn.CrossEntropyLoss(weight=torch.tensor([0.55, 5.0])),
        optimizer=AdamW(model.parameters(), lr=3e-3),
    )


@recipe
def ordinal():
    """Progression in five ordered grades, as four thresholds on one score."""
    features, progression = patients()
    grades = torch.bucketize(progression, progression.quantile(torch.tensor([0.2, 0.4, 0.6, 0.8])))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.score = mlp(10, 32, 1)
            self.thresholds = nn.Parameter(torch.linspace(-1.5, 1.5, 4))

        def forward(self, features):
            return self.score(features) - self.thresholds

    def loss(logits, grades):
        return F.binary_cross_entropy_with_logits(logits, (grades[:, None] > torch.arange(4)).float())

    model = Model()
    return Recipe(
        model=model,
        train_data=(features, grades),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b 10 -> b 4",
    )


@recipe
def pairwise_ranking():
    features, progression = patients()
    model = nn.Sequential(mlp(10, 32, 1), nn.Flatten(0))

    def ranknet(scores, targets):
        above = (targets[:, None] > targets[None]).float()
        return (F.softplus(-(scores[:, None] - scores[None])) * above).sum() / above.sum()

    return Recipe(
        model=model,
        train_data=loader(features, progression, batch_size=32, drop_last=True),
        loss=ranknet,
        optimizer=Adam(model.parameters(), lr=3e-3),
        batch_dim=None,
    )


@recipe
def twenty_samples():
    """Three exercises to three body measures, for twenty men."""
    model = mlp(3, 16, 3, act=nn.Tanh)
    return Recipe(
        model=model,
        train_data=loader(*athletes(), batch_size=5),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b 3 -> b 3",
    )
