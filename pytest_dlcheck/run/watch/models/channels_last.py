"""Convolutions that are given images, or signals, whose channels lie last as if they lay first.

Seen where no loader gave the batch, or where it was copied after its view. No judgement.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

ALIKE = 0.999
"""Correlation from which on numbers are others in another unit, as of bytes and shares."""
SAMPLES = 32
"""Samples of a batch (count) whose numbers are compared, at most."""
NEIGHBOURS = 0.3
"""Correlation from which on neighbours are alike, their sample's mean taken off: at most 0.08 in noise,
0.37 and more in 16 patches of a photograph, 0.53 in drawings of digits."""
MARGIN = 0.05
"""By how much they are more alike along the axes that numbers lie along: 0.07 and more in 16 patches of
a photograph, 0.2 in drawings; where channels lay first already, it is -0.06 at most."""


def taken_for_first(module: _ConvNd, given: Tensor, batches: Sequence[Tensor]) -> list[int]:
    """The shape of what a layer's input is made of without moving a number; empty where it is none such.

    Args:
        module: which is given it.
        given: as it is.
        batches: what a loader has given last.
    """
    if given.grad_fn is not None or not given.is_contiguous() or not given.numel():
        return []
    if given.ndim != len(module.kernel_size) + 2:
        return []
    samples, channels, *places = given.shape
    last = [samples, *places, channels]
    whole = given._base  # noqa: SLF001  so torch calls what a view was taken of
    if whole is None:
        copied = any(list(batch.shape) == last and _is_copied(batch, given) for batch in batches)
        return last if copied else []
    return last if _is_cut_of(given, whole, last) and _lie_along(given[:SAMPLES], last) else []


def _is_copied(batch: Tensor, given: Tensor) -> bool:
    """Whether numbers are a batch's in its own order, and would differ from them in the right one."""
    some = batch[:SAMPLES].detach().to("cpu", torch.float64)
    seen = given[:SAMPLES].detach().to("cpu", torch.float64).flatten()
    return _alike(some.flatten(), seen) >= ALIKE > _alike(some.movedim(-1, 1).flatten(), seen)


def _is_cut_of(given: Tensor, whole: Tensor, last: Sequence[int]) -> bool:
    """Whether it is a view of samples in a row, each of these sizes."""
    if list(whole.shape[1:]) != last[1:] or whole.dtype != given.dtype or not whole.is_contiguous():
        return False
    return bool((given.storage_offset() - whole.storage_offset()) % given[0].numel() == 0)


def _lie_along(given: Tensor, last: Sequence[int]) -> bool:
    """Whether neighbours are alike with the channels last, and less so with the channels first."""
    seen = given.detach().to("cpu", torch.float64)
    seen = seen - seen.mean(list(range(1, seen.ndim)), keepdim=True)
    own = _smoothness(seen.view(-1, *last[1:]), first=1)
    return own >= NEIGHBOURS and own - _smoothness(seen, first=2) >= MARGIN


def _smoothness(numbers: Tensor, first: int) -> float:
    """The mean correlation of neighbours, along all axes of more than one place but the channels."""
    axes = [a for a in range(first, first + numbers.ndim - 2) if numbers.shape[a] > 1]
    found = [_alike(_along(numbers, axis, 0), _along(numbers, axis, 1)) for axis in axes]
    return sum(found) / len(found) if found else 0.0


def _along(numbers: Tensor, axis: int, start: int) -> Tensor:
    return numbers.narrow(axis, start, numbers.shape[axis] - 1).flatten()


def _alike(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
