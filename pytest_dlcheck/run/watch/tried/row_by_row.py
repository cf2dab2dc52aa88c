"""Whether a model reads square images row by row, each alone and all alike. No judgement.

So does a chain of linear layers that images are given to as they are: only the last axis is read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors

AXES = 3
"""Samples, rows, columns."""
SMALLEST = 6
"""Rows (count) below which a square is no image: rotations and covariances are as small."""
FEWEST = 1_000
"""Pairs of neighbours (count) that a correlation is told from."""
ALIKE = 0.15
"""Correlation of neighbours (ratio) along rows and along columns from which on it is an image; five
standard errors of the fewest pairs. That of digits of 8 by 8 pixels is 0.24 and more."""
_NEAR = 1e-4
"""Relative difference up to which two passes give the same."""


def is_like_an_image(given: Tensor) -> bool:
    """Whether neighbours are alike along both axes, beyond what all samples have in common.

    Args:
        given: a batch, shape ``[samples, rows, columns]``.
    """
    if given.dim() != AXES or not given.is_floating_point() or given.shape[1] != given.shape[2]:
        return False
    if given.shape[1] < SMALLEST or given[:, 1:].numel() < FEWEST:
        return False
    with torch.no_grad():
        apart = given.float() - given.float().mean(0)
        return all(_correlation(apart, axis) >= ALIKE for axis in (1, 2))


def reads_rows_alone(rig: Rig) -> bool:
    """Whether what a model gives for each row of its input depends on that row alone, wherever it is."""
    (given,) = tensors(rig.call.inputs)
    rows = given.shape[1]
    order = torch.arange(rows, device=given.device).roll(rows // 2)
    changed = given.clone()
    changed[:, 0] = given[:, rows // 2]
    before, moved, other = (_given_for(rig, each) for each in (given, given[:, order], changed))
    if before is None or moved is None or other is None or before.shape[:2] != given.shape[:2]:
        return False
    differs = not _same(before[:, 0], other[:, 0])
    return differs and _same(before[:, 1:], other[:, 1:]) and _same(before[:, order], moved)


def _given_for(rig: Rig, images: Tensor) -> Tensor | None:
    found = tensors(rig.call(map_tensors(rig.call.inputs, lambda _: images)))
    return found[0].float() if found and found[0].dim() >= AXES else None


def _same(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= _NEAR * float(one.abs().max())


def _correlation(apart: Tensor, axis: int) -> float:
    length = apart.shape[axis] - 1
    one, other = (apart.narrow(axis, start, length).flatten() for start in (0, 1))
    return float(torch.cosine_similarity(one, other, dim=0))
