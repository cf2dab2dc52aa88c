"""Images that models were called on, beside the masks that their losses compare. No judgement.

Some samples are kept, small, each mask once; how they lie on each other is found out at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.contents.alignment import AXES, FINE, TURNS, are_maps
from pytest_dlcheck.run.contents.map_rows import CLOSE, are_masks, row_of
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

_MOST = 0.5
"""Share of masks (ratio) that are made of their images from which on all are taken to be."""
CHANNELS = 4
"""Channels of an image that are kept, the first."""
_TURNING = frozenset({"Flip", "Rot90", "Roll", "Index", "IndexSelect", "Gather"})
"""What may turn outputs back, so that a loss is right although its model was called on turned images."""


@dataclass(frozen=True)
class Pair:
    """Images and masks of the same samples, on the CPU."""

    images: Tensor
    masks: Tensor


class Maps:
    """Samples of all losses that are looked at."""

    def __init__(self) -> None:
        self._images: list[Tensor] = []
        self._masks: list[Tensor] = []
        self._known: set[float] = set()

    def add(self, pair: Pair | None) -> None:
        """One loss's."""
        if pair is None or len(self._images) >= CLOSE:
            return
        if self._images and self._shapes(pair) != (self._images[0].shape, self._masks[0].shape):
            return
        for image, mask, print_ in zip(pair.images, pair.masks, _prints(pair.masks), strict=True):
            if print_ not in self._known:
                self._known.add(print_)
                self._images.append(image)
                self._masks.append(mask)

    def row(self) -> Row | None:
        """How the masks lie on the images; None where that cannot be told."""
        if not self._images:
            return None
        with suppress(RuntimeError), torch.no_grad(), same_draws(0):
            images, masks = torch.stack(self._images), torch.stack(self._masks)
            if _are_made_of(masks, images):
                return None
            return row_of(images, masks, "what the model is called on", "the mask in the loss")
        return None

    @staticmethod
    def _shapes(pair: Pair) -> tuple[torch.Size, torch.Size]:
        return pair.images.shape[1:], pair.masks.shape[1:]


def masks_beside(near: Near, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Pair | None:
    """The images that the one model was called on, and the masks in its loss, if these are such.

    Args:
        near: nodes of the loss's graph.
        inputs: what models were called on since the backward before.
        targets: what the loss compares.
    """
    if len(inputs) != 1 or inputs[0].dim() != AXES or not inputs[0].is_floating_point():
        return None
    masks = next(_masks(inputs[0], targets), None)
    if masks is None or near.of(_TURNING):
        return None
    with torch.no_grad():
        images = inputs[0].detach()[:CLOSE, :CHANNELS].float()
        if max(images.shape[-2:]) > FINE:
            images = F.adaptive_avg_pool2d(images, _smaller(images))
        masks = masks.detach()[:CLOSE]
        masks = masks[:, None] if masks.dim() < AXES else masks
        if max(masks.shape[-2:]) > FINE:
            masks = F.interpolate(masks.double(), _smaller(masks)).to(masks.dtype)
        return Pair(images.cpu().clone(), masks.cpu().clone()) if bool(images.isfinite().all()) else None


def _masks(images: Tensor, targets: Sequence[Tensor]) -> Iterator[Tensor]:
    for target in targets:
        beside = target.dim() > 0 and is_plain(target) and len(target) == len(images)
        if beside and not target.is_complex() and are_maps(images, target) and are_masks(target):
            yield target


def _are_made_of(masks: Tensor, images: Tensor) -> bool:
    """Whether most masks are where an image, turned or not, is bright: targets of an autoencoder."""
    if masks.shape[-2:] != images.shape[-2:] or masks.shape[1] != 1:
        return False
    image, inside = images[:, :1], masks == masks.amax()
    tried = [image, *(turned for t in TURNS.values() if (turned := t(image)).shape == image.shape)]
    low = [one.masked_fill(~inside, torch.inf).flatten(1).amin(1) for one in tried]
    high = [one.masked_fill(inside, -torch.inf).flatten(1).amax(1) for one in tried]
    made = torch.stack([above >= below for above, below in zip(low, high, strict=True)]).any(0)
    return bool(made.float().mean() > _MOST)


def _smaller(maps: Tensor) -> tuple[int, int]:
    height, width = maps.shape[-2:]
    scale = max(height, width) / FINE
    return max(1, round(height / scale)), max(1, round(width / scale))


def _prints(masks: Tensor) -> list[float]:
    """A number for each, by its values and their places."""
    flat = masks.flatten(1).double()
    return (flat @ torch.arange(1, flat.shape[1] + 1, dtype=torch.float64).sin()).tolist()
