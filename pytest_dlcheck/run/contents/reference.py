"""What simple methods make of the data: how much of targets they predict for samples held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

FOLDS = 5
"""Parts of the samples, each predicted from the others."""
NEIGHBOURS = 10
"""Nearest samples whose targets are averaged."""
SURE = 3.1
"""Standard errors up to which a share is given: one in a thousand lies beyond."""
CLASSES = 64
_TINY = 1e-12

Predict = Callable[[Tensor, Tensor], Tensor]
"""Given which samples are held out (``[n]`` bool) and all targets less the mean of the others
(``[n, t]``), predicts those of the held-out ones."""


def explained(inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """The share of the variance of targets that a simple method predicts, out of fold.

    Tried are a linear and a Gaussian kernel ridge regression and the mean over nearest neighbours.

    Args:
        inputs: shape ``[n, f]``, standardised.
        targets: shape ``[n]`` of classes, or ``[n, t]`` of numbers.

    Returns:
        The largest share of the three, and the largest upper limit of any; about zero or below it where
        inputs tell nothing of targets, 0.4 to 0.95 in scikit-learn's data sets.
    """
    x, y = inputs.double(), _as_numbers(targets).double()
    y = y - y.mean(0)
    parts = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)) % FOLDS
    shares = [_share(predict, y, parts) for predict in _methods(x)]
    return max(share for share, _ in shares), max(share + SURE * error for share, error in shares)


def _as_numbers(targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return targets.reshape(len(targets), -1)
    classes, named = torch.unique(targets, return_inverse=True)
    commonest = torch.bincount(named).argsort(descending=True)[:CLASSES]
    return F.one_hot(named, len(classes))[:, commonest].float()


def _methods(x: Tensor) -> Iterator[Predict]:
    distance = torch.cdist(x, x).square()
    kernel = torch.exp(-distance / distance.median().clamp_min(_TINY))

    def linear(out: Tensor, y: Tensor) -> Tensor:
        known = x[~out]
        gram = known.T @ known + max(1, x.size(1)) * torch.eye(x.size(1), dtype=x.dtype)
        found: Tensor = x[out] @ torch.linalg.solve(gram, known.T @ y[~out])
        return found

    def curved(out: Tensor, y: Tensor) -> Tensor:
        gram = kernel[~out][:, ~out] + torch.eye(int((~out).sum()), dtype=x.dtype)
        found: Tensor = kernel[out][:, ~out] @ torch.linalg.solve(gram, y[~out])
        return found

    def nearest(out: Tensor, y: Tensor) -> Tensor:
        count = min(NEIGHBOURS, int((~out).sum()))
        return y[~out][distance[out][:, ~out].topk(count, largest=False)[1]].mean(1)

    yield from (linear, curved, nearest)


def _share(predict: Predict, y: Tensor, parts: Tensor) -> tuple[float, float]:
    """The share of variance that is predicted, and its standard error over samples."""
    before, after = torch.zeros(len(y), dtype=y.dtype), torch.zeros(len(y), dtype=y.dtype)
    for part in range(FOLDS):
        out = parts == part
        apart = y - y[~out].mean(0)
        before[out] = apart[out].square().sum(1)
        after[out] = (apart[out] - predict(out, apart)).square().sum(1)
    unit = before.mean().clamp_min(_TINY)
    gains = before - after
    return float(gains.mean() / unit), float(gains.std() / len(y) ** 0.5 / unit)
