"""Whether targets are the next words of what a model is called on: along which axis, laid out how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import is_whole

WORDS = 4
"""Places of a sequence, and different words in it, from which on it is one."""


def are_words(given: Tensor) -> bool:
    """Whether these are whole numbers, sequences in a batch ``[n, m]``."""
    return is_whole(given) and given.dim() == 2 and min(given.shape) > 0  # noqa: PLR2004  sequences in a batch


def steps_of(words: Tensor, targets: Sequence[Tensor]) -> int | None:
    """The axis along which any of the targets are the next words; the last one first."""
    return next((a for a in (1, 0) if any(are_next(words, each, a) for each in targets)), None)


def are_next(words: Tensor, target: Tensor, axis: int, ahead: int = 1) -> bool:
    """Whether targets are the next words along an axis; those that are left out are negative.

    Args:
        words: in their places.
        target: one for each of them, or for fewer: the last places may have none.
        axis: that of the steps.
        ahead: how many steps they lie ahead.
    """
    length = words.shape[axis]
    if length < WORDS + ahead - 1 or target.is_floating_point() or target.device != words.device:
        return False
    if (pair := lined_up(words, target, axis, ahead)) is None:
        return False
    later, given = pair
    known = given >= 0
    return bool(((given == later) | ~known).all()) and len(torch.unique(given[known])) >= WORDS


def lined_up(
    sequence: Tensor, target: Tensor, axis: int, ahead: int = 1
) -> tuple[Tensor, Tensor] | None:
    """What follows in a sequence, and what targets hold in its place; None where their sizes differ.

    Args:
        sequence: of any number of axes, none of which is empty.
        target: as many numbers as it has, or those of fewer places: the last ones may have none.
        axis: that of the steps, longer than ``ahead``.
        ahead: how many steps the targets lie ahead.
    """
    length = sequence.shape[axis]
    others = sequence.numel() // length
    places = target.numel() // others
    if places * others != target.numel() or not length - ahead <= places <= length:
        return None
    shape = [places if a == axis else size for a, size in enumerate(sequence.shape)]
    given = target.detach().reshape(shape).narrow(axis, 0, length - ahead)
    return sequence.narrow(axis, ahead, length - ahead), given


def are_shifted_again(inputs: Iterable[Tensor], targets: Sequence[Tensor]) -> bool:
    """Whether targets are the words after the next ones of what is given, with none for the last place.

    So they are where next words are shifted once more: the last one of them has no successor. Who cuts
    what lies two steps ahead out of a text, as heads for several words and interleaved streams want it,
    has a word for every place.
    """
    return any(
        _leaves_out_the_last(words, each, axis) and are_next(words, each, axis, 2)
        for words in filter(are_words, inputs)
        for axis in (1, 0)
        for each in targets
    )


def _leaves_out_the_last(words: Tensor, target: Tensor, axis: int) -> bool:
    if target.numel() != words.numel():
        return target.numel() == words.numel() - words.shape[1 - axis]
    return bool((target.detach().reshape(words.shape).select(axis, -1) < 0).all())


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
