"""How alike the labels of a batch's samples are, beside those of a random order. No judgement."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_dlcheck.trace import Scalar


def agreement(values: Tensor, windows: Tensor) -> dict[str, Scalar]:
    """How often two samples of a batch have one class, and how often they would by chance.

    Args:
        values: classes, int64 of shape ``[n]``.
        windows: the batch of each, int64 of shape ``[n]``.
    """
    classes, values = torch.unique(values, return_inverse=True)
    names, windows = torch.unique(windows, return_inverse=True)
    cells = torch.zeros(len(names) * len(classes), dtype=torch.float64)
    cells.index_add_(0, windows * len(classes) + values, torch.ones(len(values), dtype=torch.float64))
    cells = cells.view(len(names), len(classes))
    sizes, shares = cells.sum(1), cells.sum(0) / len(values)
    chance, triple = float(shares.square().sum()), float(shares.pow(3).sum())
    pairs, agree = float((sizes * (sizes - 1)).sum() / 2), float((cells * (cells - 1)).sum() / 2)
    chained = float((sizes * (sizes - 1) * (sizes - 2)).sum() / 2)
    variance = pairs * chance * (1 - chance) + 2 * chained * (triple - chance**2)
    if variance <= 0 or not pairs:
        return {}
    return {
        "classes": len(classes),
        "pairs": int(pairs),
        "batches_seen": len(names),
        "agree": agree / pairs,
        "chance": chance,
        "excess": (agree / pairs - chance) / (1 - chance),
        "errors": (agree - pairs * chance) / variance**0.5,
    }


def next_to(values: Tensor, near: Tensor) -> dict[str, Scalar]:
    """How often neighbours have.

    Args:
        values: classes, of shape ``[n]``.
        near: whether each is the neighbour of the one before, bool of shape ``[n - 1]``.
    """
    if not near.any():
        return {}
    return {"neighbours_agree": float((values[1:] == values[:-1])[near].double().mean())}
