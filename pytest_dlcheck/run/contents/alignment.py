"""Whether maps (masks, images) lie on the images they belong to, or on turned ones. No judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

AXES = 4
"""Axes of a batch of images: samples, channels, rows, columns."""
SIDE, FINE = 24, 48
"""Rows and columns that maps are compared at, and that images are described at, at most."""
SMALLEST = 8
CLASSES, CHANNELS = 8, 4
"""Classes of a mask and channels of an image that are looked at, the commonest and the first."""
FITS, BETTER = 0.5, 0.25
"""Correlation with what simple local features predict from which on a map fits an image, and by how
much more it must be than with the image as it is."""
SURE = 3.1
_RIDGE = 1e-3
_TINY = 1e-12

Turn = Callable[[Tensor], Tensor]
TURNS: Mapping[str, Turn] = {
    "mirrored left to right": lambda maps: maps.flip(-1),
    "mirrored top to bottom": lambda maps: maps.flip(-2),
    "turned by 180 degrees": lambda maps: maps.flip(-1, -2),
    "turned by 90 degrees": lambda maps: torch.rot90(maps, 1, (-2, -1)),
    "turned by 270 degrees": lambda maps: torch.rot90(maps, 3, (-2, -1)),
    "with rows and columns exchanged": lambda maps: maps.mT,
}
OTHER: Turn = lambda maps: maps.roll(1, 0)  # noqa: E731  of another sample: what chance gives


@dataclass(frozen=True)
class Alignment:
    """How maps fit images.

    Attributes:
        explained: share of the maps' variance within samples that local features predict, out of fold.
        error: its standard error over samples.
        turned: the same of images that are turned, by the turn.
        fits: samples whose map fits the image as it is.
        wins: samples whose map fits the turned image, and clearly better than the image as it is.
        by_chance: the same with the image of another sample.
        samples: how many there are.
    """

    explained: float
    error: float
    turned: Mapping[str, float]
    fits: int
    wins: Mapping[str, int]
    by_chance: int
    samples: int

    @property
    def most(self) -> float:
        """The most that local features may predict (ratio)."""
        return self.explained + SURE * self.error


def are_maps(images: Tensor, targets: Tensor) -> bool:
    """Whether these are images, and a number or a class for each of their places.

    Args:
        images: shape ``[n, c, h, w]``.
        targets: shape ``[n, H, W]`` or ``[n, t, H, W]``, of the same proportions.
    """
    if images.dim() != AXES or not images.is_floating_point() or targets.dim() not in {AXES - 1, AXES}:
        return False
    (h, w), (height, width) = images.shape[-2:], targets.shape[-2:]
    return min(h, w, height, width) >= SMALLEST and h * width == w * height


def aligned(images: Tensor, targets: Tensor, *, turned: bool = True) -> Alignment:
    """Compare; what :func:`are_maps` accepts.

    Args:
        images: some samples.
        targets: theirs.
        turned: whether features of turned images are fitted, too, which takes most of the time.
    """
    wanted = _centred(_maps(targets))
    given = _centred(_described(images, wanted.shape[-2:]))
    square = wanted.size(-1) == wanted.size(-2)
    tried = {name: turn for name, turn in TURNS.items() if square or not _turns_over(name)}
    predicted = _predicted(given, wanted)
    before, after = _energy(wanted), _energy(wanted - predicted)
    unit = before.mean().clamp_min(_TINY)
    gains = (before - after) / unit
    straight = _fit(predicted, wanted)

    def wins(turn: Turn) -> int:
        other = _fit(turn(predicted), wanted)
        return int(((other >= FITS) & (other - straight >= BETTER)).sum())

    return Alignment(
        explained=float(gains.mean()),
        error=float(gains.std() / len(gains) ** 0.5),
        turned={name: _share(turn(given), wanted) for name, turn in tried.items() if turned},
        fits=int((straight >= FITS).sum()),
        wins={name: wins(turn) for name, turn in tried.items()},
        by_chance=wins(OTHER),
        samples=len(wanted),
    )


def _turns_over(name: str) -> bool:
    return "90" in name or "270" in name or "exchanged" in name


def _maps(targets: Tensor) -> Tensor:
    if not targets.is_floating_point():
        flat = targets[:, 0] if targets.dim() == AXES else targets
        classes, counts = torch.unique(flat, return_counts=True)
        commonest = classes[counts.argsort(descending=True)[:CLASSES]]
        targets = torch.stack([flat == one for one in commonest], 1)
    elif targets.dim() < AXES:
        targets = targets[:, None]
    return _at_most(targets[:, :CLASSES].float(), SIDE)


def _described(images: Tensor, size: torch.Size) -> Tensor:
    """Brightness, its square, edges and fine structure of each channel, near by and farther round."""
    x = _at_most(images[:, :CHANNELS].float(), FINE)
    fine = (x - F.avg_pool2d(x, 3, 1, 1)).abs()
    edges = ((x - x.roll(1, -1)).square() + (x - x.roll(1, -2)).square()).sqrt()
    parts = torch.cat([x, x.square(), fine, edges], 1)
    near = [F.avg_pool2d(parts, k, 1, k // 2, count_include_pad=False) for k in (3, 7)]
    return F.adaptive_avg_pool2d(torch.cat(near, 1), (size[0], size[1]))


def _at_most(maps: Tensor, side: int) -> Tensor:
    scale = max(maps.shape[-2:]) / side
    if scale <= 1:
        return maps
    height, width = (max(1, round(length / scale)) for length in maps.shape[-2:])
    return F.adaptive_avg_pool2d(maps, (height, width))


def _centred(maps: Tensor) -> Tensor:
    maps = maps - maps.mean((-2, -1), keepdim=True)
    return maps / maps.square().mean((0, 2, 3), keepdim=True).sqrt().clamp_min(_TINY)


def _predicted(given: Tensor, wanted: Tensor) -> Tensor:
    """What one linear map makes of the features of each place, for one half of samples by the other."""
    found = torch.zeros_like(wanted)
    half = torch.arange(len(wanted)) % 2 == 0
    for part in (half, ~half):
        known, asked = (given[p].movedim(1, -1).double() for p in (~part, part))
        x, y = known.flatten(0, 2), wanted[~part].movedim(1, -1).flatten(0, 2).double()
        gram = x.T @ x + _RIDGE * len(x) * torch.eye(x.size(1), dtype=x.dtype)
        found[part] = (asked @ torch.linalg.solve(gram, x.T @ y)).movedim(-1, 1).to(found.dtype)
    return found


def _share(given: Tensor, wanted: Tensor) -> float:
    left = _energy(wanted - _predicted(given, wanted)).mean()
    return float(1 - left / _energy(wanted).mean().clamp_min(_TINY))


def _energy(maps: Tensor) -> Tensor:
    return maps.square().sum((1, 2, 3))


def _fit(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Their correlation, sample by sample."""
    size = (_energy(predicted) * _energy(wanted)).sqrt().clamp_min(_TINY)
    return (predicted * wanted).sum((1, 2, 3)) / size
