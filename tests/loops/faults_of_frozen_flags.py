"""Modules that are to be frozen by an attribute, beside those that are, or whose flag is their own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import loaders
from .faults import fault, train_classifier
from .healthy import Net


class Probed(nn.Module):
    """A trunk that was trained before, and a head."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.trunk(x))


class Stem(nn.Module):
    """Convolves with filters that are learned where its flag says so, and a bias that always is."""

    def __init__(self, *, requires_grad):
        super().__init__()
        self.requires_grad = requires_grad
        filters = torch.randn(8, 1, 3, 3) / 3
        if self.requires_grad:
            self.filters = nn.Parameter(filters)
        else:
            self.register_buffer("filters", filters)
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return F.conv2d(x, self.filters, self.bias, padding=1)


def pretrained():
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
    fit(nn.Sequential(trunk, nn.Linear(32, 10)))
    return trunk


def fit(model, before_step=lambda step: None):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train, _ = loaders()
    for _ in range(2):
        for step, (x, y) in enumerate(train):
            before_step(step)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def probed_after_a_training():
    model = Probed(pretrained())
    model.trunk.requires_grad_(requires_grad=False)
    fit(model)


def frozen_from_the_start():
    model = Net()
    model.conv1.requires_grad_(requires_grad=False)
    train_classifier(model=model)


@fault(frozen_from_the_start, "frozen_stay_frozen", words=("an attribute that nothing reads",))
def frozen_by_an_attribute():
    model = Net()
    model.conv1.requires_grad = False
    train_classifier(model=model)


@fault(probed_after_a_training, "frozen_stay_frozen", words=("an attribute that nothing reads",))
def frozen_by_an_attribute_after_a_training():
    model = Probed(pretrained())
    model.trunk.requires_grad = False
    fit(model)


# -- healthy neighbours ---------------------------------------------------------------------------


def flag_beside_frozen_parameters():
    model = Net()
    model.conv1.requires_grad = False
    model.conv1.requires_grad_(requires_grad=False)
    train_classifier(model=model)


def flag_that_is_set_back():
    model = Net()
    model.conv1.requires_grad = False
    model.conv1.requires_grad = True
    train_classifier(model=model)


def flag_that_is_set_back_later():
    model = Probed(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU()))

    def switch(step):
        model.trunk.requires_grad = step % 2 == 1

    fit(model, switch)


def flag_of_the_class():
    fit(nn.Sequential(Stem(requires_grad=False), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)))


def flag_set_after_the_training():
    model = Probed(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU()))
    fit(model)
    model.requires_grad = False


QUIET = [
    flag_beside_frozen_parameters,
    flag_that_is_set_back,
    flag_that_is_set_back_later,
    flag_of_the_class,
    flag_set_after_the_training,
]
"""None of them may raise an alarm."""
