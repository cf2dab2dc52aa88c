"""Loops whose loss falls with the score of the right class, by mistake or for a reason."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault
from .healthy import mlp


def _own(scores, labels):
    """The probability of each sample's own class."""
    return scores.softmax(1).gather(1, labels[:, None]).squeeze(1)


def _classify(loss_of, *, says=lambda labels: labels, scored=True, epochs=4):
    images, labels = digits()
    said = says(labels)
    train = DataLoader(TensorDataset(images[:1200], said[:1200]), 32, shuffle=True)
    val = DataLoader(TensorDataset(images[1200:], labels[1200:]), 64)
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    right = 0
    for _ in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in val if scored else ():
                right += int((model(x).argmax(1) == y).sum())
    return right


def one_less_the_probability():
    _classify(lambda scores, labels: (1 - _own(scores, labels)).mean())


@fault(one_less_the_probability, "loss_has_a_floor", words=("sign of the loss",))
def the_probability_itself():
    _classify(lambda scores, labels: _own(scores, labels).mean())


@fault(one_less_the_probability, "loss_has_a_floor", words=("sign of the",), advice=True)
def the_probability_that_nobody_scores():
    _classify(lambda scores, labels: _own(scores, labels).mean(), scored=False)


# -- healthy neighbours ---------------------------------------------------------------------------


def complementary_labels():
    """Each says one class that the sample is not of; scored by what they are of."""
    _classify(
        lambda scores, labels: -(1 - _own(scores, labels) + 1e-6).log().mean(),
        says=lambda labels: (labels + torch.randint(1, 10, labels.shape)) % 10,
        epochs=6,
    )


def smoothed_until_it_is_surer():
    _classify(lambda s, y: F.cross_entropy(s, y, label_smoothing=0.3), epochs=6)


def mixed_with_other_rows():
    def mixed(scores, labels):
        share = torch.rand(())
        return share * F.cross_entropy(scores, labels) + (1 - share) * F.cross_entropy(
            scores, labels.roll(1)
        )

    _classify(mixed)


QUIET = [smoothed_until_it_is_surer, mixed_with_other_rows]
