"""Two inputs of a sample that are one and the same in every sample, as of an anchor and its positive."""

from __future__ import annotations

import torch

from pytest_dlcheck.run.contents.places import Place
from pytest_dlcheck.trace import Scalar

_KNOWN = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    | {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)
_FEWEST = 8
"""Samples, and"""
_FEATURES = 2
"""numbers a sample, and"""
_VALUES = 3
"""distinct values among them, from which on equality is no chance: masks have two."""
_MOST = 256
"""Samples that are compared, at most."""


def doubled(place: Place, given: list[Place]) -> dict[str, Scalar]:
    """The first other input that equals this one in every sample, although samples differ.

    Args:
        place: of inputs.
        given: all places, in the order of the batch.
    """
    own = place.values[:_MOST]
    few = len(own) < _FEWEST or own[0].numel() < _FEATURES
    if place.is_target or few or own.dtype not in _KNOWN:
        return {}
    for other in given:
        if other is place:
            return {}
        values = other.values[:_MOST]
        fits = not other.is_target and values.shape == own.shape and other.indices == place.indices
        if fits and torch.equal(values[:2], own[:2]) and torch.equal(values, own):
            varies = bool((own != own[:1]).any()) and len(torch.unique(own)) >= _VALUES
            return {"same_as": other.name} if varies else {}
    return {}
