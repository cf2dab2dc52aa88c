"""Whether targets are the next words of what a model is called on: along which axis, laid out how."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WORDS = 4
"""Places of a sequence, and different words in it, from which on it is one."""


def are_words(given: Tensor) -> bool:
    """Whether these are whole numbers, sequences in a batch ``[n, m]``."""
    whole = not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
    return whole and given.dim() == 2 and min(given.shape) > 0  # noqa: PLR2004  sequences in a batch


def steps_of(words: Tensor, targets: Sequence[Tensor]) -> int | None:
    """The axis along which any of the targets are the next words; the last one first."""
    return next((a for a in (1, 0) if any(are_next(words, each, a) for each in targets)), None)


def are_next(words: Tensor, target: Tensor, axis: int) -> bool:
    """Whether targets are the next words along an axis; those that are left out are negative."""
    length = words.shape[axis]
    if length < WORDS or target.is_floating_point() or target.device != words.device:
        return False
    later = words.narrow(axis, 1, length - 1)
    if target.numel() == words.numel():
        given = target.detach().reshape(words.shape).narrow(axis, 0, length - 1)
    elif target.numel() == later.numel():
        given = target.detach().reshape(later.shape)
    else:
        return False
    known = given >= 0
    return bool(((given == later) | ~known).all()) and len(torch.unique(given[known])) >= WORDS


def laid_out(words: Tensor, target: Tensor) -> list[int]:
    """The shape in which flat targets hold a next word for each: that of the words, or its reverse.

    Empty where they are no next words, or where both shapes are one.
    """
    shape = list(words.shape)
    if shape[0] == shape[1] or target.numel() != words.numel():
        return []
    if steps_of(words, [target]) is not None:
        return shape
    back = target.detach().reshape(*reversed(shape)).t()
    return [] if steps_of(words, [back]) is None else shape[::-1]
