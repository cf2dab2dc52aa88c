"""Loops whose validation labels number the classes otherwise, beside what only scores badly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault
from .healthy import Net


def _train(relabel=lambda labels: labels, *, train=1200, seen=lambda labels: labels, epochs=3):
    images, labels = digits()
    data = TensorDataset(images[:train], seen(labels[:train]))
    unseen = TensorDataset(images[1200:], relabel(labels[1200:]))
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(epochs):
        model.train()
        for x, y in DataLoader(data, 40, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in DataLoader(unseen, 100):
                model(x).argmax(1).eq(y).sum().item()


def one_list_of_classes():
    _train()


@fault(one_list_of_classes, "classes_keep_their_numbers", words=("number the classes otherwise",))
def classes_as_they_come():
    def relabel(labels):
        found = list(dict.fromkeys(labels.tolist()))
        return torch.tensor([found.index(label) for label in labels.tolist()])

    _train(relabel)


@fault(one_list_of_classes, "classes_keep_their_numbers", words=("number the classes otherwise",))
def counted_from_one():
    _train(lambda labels: (labels + 1) % 10)


def labels_by_chance():
    """Learned by heart: nothing holds for what is left out."""
    _train(train=80, seen=lambda labels: torch.randint(10, labels.shape), epochs=40)


def domains_differ():
    """Half of what is left out is another task's."""
    _train(lambda labels: torch.where(torch.arange(len(labels)) % 2 == 0, labels, labels.flip(0)))


QUIET = [labels_by_chance, domains_differ]
