"""Validations that forget ``no_grad``: what they are made on is known all the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault
from .healthy import Net


def _validated_with_gradients(begin, epochs=5):
    images, labels = digits()
    train_loader = DataLoader(TensorDataset(images[:1200], labels[:1200]), 32, shuffle=True)
    val_loader = DataLoader(TensorDataset(images[begin:][:300], labels[begin:][:300]), 60)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)


def new_rows_with_gradients():
    _validated_with_gradients(1200)


@fault(new_rows_with_gradients, "validation_is_untouched", words=("trained on its validation data",))
def rows_trained_on_with_gradients():
    _validated_with_gradients(800)


def attacked_in_eval_mode():
    """Several steps of an attack in eval mode, then one of training on what it has found."""
    images, labels = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(2):
        for x, y in DataLoader(TensorDataset(images[:640], labels[:640]), 32, shuffle=True):
            model.eval()
            moved = x + 0.05 * torch.randn_like(x)
            for _ in range(3):
                moved.requires_grad_()
                (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
                moved = (moved + 0.02 * slope.sign()).detach()
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(moved), y).backward()
            optimizer.step()


QUIET = [attacked_in_eval_mode]
