"""Whether a weight goes on from another: a copy of it, earlier or larger. No judgement."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.sampled import reals_of, sample_of
from pytest_dlcheck.run.tensors.tree import is_plain

FEWEST = 64
"""Numbers that two weights must have in common: the cosine of two draws of as many is 0 to 1/8."""
LARGEST = 1_000_000
"""Numbers of them that are compared, the first ones."""
AKIN = 0.5
"""Cosine (ratio) from which on they have one origin: four standard errors of the fewest."""


def descends(new: Tensor, old: Tensor) -> bool | None:
    """Whether the part that both have points the same way; None where it cannot be told.

    Vectors tell nothing: those of all normalisations are nearly 1.

    Args:
        new: the one,
        old: and the other, perhaps of another shape.
    """
    if new.dim() != old.dim() or new.dim() < 2 or new.device != old.device:  # noqa: PLR2004  vectors
        return None
    if new.is_meta or not (is_plain(new) and is_plain(old)):
        return None
    common = tuple(slice(min(a, b)) for a, b in zip(new.shape, old.shape, strict=True))
    with torch.no_grad():
        one, other = (reals_of(each.detach()[common].flatten()[:LARGEST]) for each in (new, old))
        if one.numel() < FEWEST or not bool(one.any()) or not bool(other.any()):
            return None
        return bool(torch.cosine_similarity(one, other, dim=0) >= AKIN)


def are_descendants(told: Iterable[bool | None]) -> bool:
    """Whether some weights go on from their predecessors, and none does not."""
    known = [each for each in told if each is not None]
    return bool(known) and all(known)


def is_as_it_was(parameter: Tensor, before: Tensor) -> bool:
    """Whether a sample of it is still the same, and lies where it lay."""
    now = sample_of(parameter)
    alike = (now.device, now.dtype) == (before.device, before.dtype)
    return alike and torch.equal(now, before)
