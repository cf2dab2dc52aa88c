"""What is told of maps and the images that they come with, in a row. No judgement."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_dlcheck.run.contents.alignment import Alignment, aligned
from pytest_dlcheck.trace import Row

GLANCE, CLOSE = 64, 256
"""Samples that are compared at first, and where a turned image fits a map better."""
FEWEST = 24
"""Maps that vary (count) from which on something is told."""
_CLEAR = 0.25
"""Share of the maps' variance that features must tell lest turned images are tried (ratio)."""
_SUSPICIOUS = 2
"""Maps that fit a turned image better from which on it is looked at closely."""
_LOOKED = 1 << 16
"""Numbers of maps by which masks are known."""
_TWO = 2


def that_vary(maps: Tensor) -> Tensor:
    """Which of them: an image without any of the objects fits its map however it is turned."""
    flat = maps.flatten(1)
    return (flat.amin(1) < flat.amax(1)).nonzero().flatten()


def are_masks(maps: Tensor) -> bool:
    """Whether they hold classes, or two numbers."""
    values = maps.flatten()[:_LOOKED]
    return not values.is_floating_point() or torch.unique(values).numel() <= _TWO


def row_of(images: Tensor, maps: Tensor, image: str, name: str) -> Row | None:
    """How maps lie on images of the same samples; None where too few of them vary.

    Args:
        images: some, and
        maps: theirs, as :func:`pytest_dlcheck.run.contents.alignment.are_maps` accepts them.
        image: what the images are called, and
        name: the maps.
    """
    telling = that_vary(maps)
    if len(telling) < FEWEST:
        return None
    found = _compared(images, maps, telling, GLANCE, turned=False)
    if max(found.wins.values()) >= _SUSPICIOUS or found.explained < _CLEAR:
        found = _compared(images, maps, telling, CLOSE)
    best = max(found.turned, key=lambda name: found.turned[name], default="")
    clear = bool(best) and found.turned[best] > 2 * found.explained
    turn = best if clear else max(found.wins, key=lambda name: found.wins[name])
    return Row(
        image=image,
        map=name,
        samples=found.samples,
        explained=found.explained,
        turn=turn,
        turned_explained=found.turned.get(turn),
        fits=found.fits,
        wins=found.wins[turn],
        by_chance=found.by_chance,
        mask=are_masks(maps),
    )


def _compared(
    images: Tensor, maps: Tensor, telling: Tensor, count: int, *, turned: bool = True
) -> Alignment:
    some = telling[torch.linspace(0, len(telling) - 1, min(count, len(telling))).round().long()]
    return aligned(images[some], maps[some], turned=turned)
