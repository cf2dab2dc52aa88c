"""Whether a model was called on what a loader gave, be it in another unit."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import is_plain

ALIKE = 0.9999
"""Correlation of the same numbers in two units: bfloat16 keeps 8 bits, which costs some 1e-5."""
FEW = 8
"""Numbers of a column from which on two sets of them do not lie on a line by chance."""
ROUNDING = 1e-6
"""Share of a column's size up to which it does not vary: it is of single precision."""
SOME = 1 << 15
"""Numbers (count) of a batch that are held against another's, if its first sample has no more: a
millisecond."""


def holds(called: Tensor, given: Tensor) -> bool:
    """Whether a tensor holds the numbers of another in their places, each column in a unit of its own.

    So normalisation leaves them, by channel or by feature, and flattening.

    Args:
        called: of shape [samples, ...].
        given: of the same number of samples, and numbers of each.
    """
    if not called.dim() or not given.dim() or not 0 < len(given) == len(called) or not is_plain(called):
        return False
    if called.numel() != given.numel() or given.is_complex() or not 0 < given[0].numel() <= SOME:
        return False
    samples = SOME // given[0].numel()
    called, given = called[:samples], given[:samples]
    with torch.no_grad():
        both = torch.stack(
            [t.detach().to("cpu", torch.float64).reshape(given.shape) for t in (called, given)]
        )
        if given.dim() == 1:
            return _are_on_lines(both.unsqueeze(1))
        return any(_are_on_lines(both.movedim(axis, 1).flatten(2)) for axis in {2, given.dim()})


def _are_on_lines(columns: Tensor) -> bool:
    """Whether each column's numbers lie on a line, one against the other; [2, columns, numbers]."""
    if columns.shape[2] < FEW:
        return False
    centred = columns - columns.mean(2, keepdim=True)
    norms = centred.norm(dim=2)
    one, other = norms > ROUNDING * columns.norm(dim=2)
    if not bool(one.any()) or not torch.equal(one, other):
        return False
    return bool((centred.prod(0).sum(1).abs() >= ALIKE * norms.prod(0))[one].all())
