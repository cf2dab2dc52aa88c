"""How large the numbers of batches are, and whether those of two kinds differ in scale. No judgement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BATCHES = 16
"""Batches of a kind that are measured: the first ones that are remembered."""
ROWS = 32
"""Samples of a batch that are measured at most: the first ones."""
NUMBERS = 128
"""Numbers of a sample that are measured at most, evenly spread."""


def numbers_of(batch: Tensor, copy: Tensor | None = None) -> Tensor | None:
    """A copy of some of its numbers, by which its size is told; None of other kinds.

    Args:
        batch: samples along its first axis.
        copy: of them all, if there is one.
    """
    plain = batch.layout == torch.strided and not batch.is_nested and not batch.is_meta
    if not plain or not batch.is_floating_point() or batch.dim() < 2 or not batch.numel():  # noqa: PLR2004
        return None
    rows = (batch.detach() if copy is None else copy)[:ROWS].flatten(1)
    return rows[:, :: max(1, rows.shape[1] // NUMBERS)].to(torch.float32, copy=copy is None)


def _size_of(numbers: Tensor) -> Tensor:
    """Root mean square and ninth decile of the absolute numbers, shape ``[2]``."""
    numbers = numbers.abs().flatten()
    return torch.stack([numbers.square().mean().sqrt(), _at(numbers, int(0.9 * len(numbers)))])


def _at(numbers: Tensor, place: int) -> Tensor:
    """The number at this place of their order; ``kthvalue`` is not deterministic on CUDA."""
    if numbers.is_cpu:
        return numbers.kthvalue(place + 1).values
    return numbers.sort().values[place]


def ratio(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """By what factor all batches of theirs are larger than all of ours, or smaller; 1 where they meet.

    Args:
        ours: what :func:`numbers_of` gives of some batches.
        theirs: the same of others.

    Returns:
        The least factor between any two, by root mean square and by ninth decile alike.
    """
    if not ours or not theirs:
        return 1.0
    mine, other = (
        torch.stack([_size_of(numbers).cpu() for numbers in some]).double() for some in (ours, theirs)
    )
    if not bool((mine > 0).all() & (other > 0).all() & mine.isfinite().all() & other.isfinite().all()):
        return 1.0
    larger = float((other.amin(0) / mine.amax(0)).min())
    smaller = float((other.amax(0) / mine.amin(0)).max())
    return larger if larger > 1 else min(smaller, 1.0)
