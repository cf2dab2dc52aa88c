"""Where in its outputs a model answers to a place of its images: there, or as if they were turned.

Models may turn images themselves, as those that are stored with their axes exchanged, or learn to. The
spot of one sample is put into another, and what changes in the outputs is looked at. No judgement.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.contents.alignment import AXES, SIDE, TURNS, are_maps
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors
from pytest_dlcheck.trace import Row

_SPOTS = ((0.05, 0.27), (0.3, 0.8), (0.75, 0.5))
"""Upper left corners (ratio) of the places that are changed: none comes to lie on itself by a turn."""
_WIDE = 0.2
"""Their width (ratio)."""


def turned_within(rig: Rig) -> Iterator[Row]:
    """A row for the turn under which outputs change where images do; none where that is no turn."""
    given = tensors(rig.call.inputs)
    if len(given) != 1 or given[0].dim() != AXES or len(given[0]) <= 1:
        return
    images, before = given[0], _maps_of(rig, given[0])
    if before is None:
        return
    straight, turned = 0.0, dict.fromkeys(TURNS, 0.0)
    for corner in _SPOTS:
        spot = _spot(images.shape[-2:], *corner).to(images.device)
        after = _maps_of(rig, torch.where(spot, images.roll(1, 0), images))
        if after is None or after.shape != before.shape:
            return
        moved = (after - before).square().sum((0, 1))
        place = _spot(moved.shape, *corner).to(moved.device)
        straight += float(moved[place].sum())
        for name, turn in TURNS.items():
            if (there := turn(place)).shape == place.shape:
                turned[name] += float(moved[there].sum())
    best = max(turned, key=lambda name: turned[name])
    if turned[best] > straight:
        yield Row(turn=best)


def _maps_of(rig: Rig, images: Tensor) -> Tensor | None:
    """What a model gives for each place, small, ``[samples, channels, rows, columns]``."""
    output = rig.call(map_tensors(rig.call.inputs, lambda _: images))
    found = [t for t in tensors(output) if t.is_floating_point() and are_maps(images, t)]
    if not found:
        return None
    maps = found[0].float()
    maps = maps[:, None] if maps.dim() < AXES else maps
    return maps if max(maps.shape[-2:]) <= SIDE else F.adaptive_avg_pool2d(maps, _smaller(maps))


def _smaller(maps: Tensor) -> tuple[int, int]:
    height, width = maps.shape[-2:]
    scale = max(height, width) / SIDE
    return max(1, round(height / scale)), max(1, round(width / scale))


def _spot(size: torch.Size, upper: float, left: float) -> Tensor:
    """Which places lie in it."""
    rows, columns = ((torch.arange(length) + 0.5) / length for length in size)
    inside = [(at >= low) & (at < low + _WIDE) for at, low in ((rows, upper), (columns, left))]
    return inside[0][:, None] & inside[1]
