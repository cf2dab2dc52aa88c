"""Whether masks and other maps lie on the images that they belong to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pytest_dlcheck.run.alignment import Alignment, aligned, are_maps
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.places import Place, each_once, places
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.samples import look
from pytest_dlcheck.trace import Row

_GLANCE, _CLOSE = 64, 256
"""Samples that are compared at first, and where a turned image fits a map better."""
_FEWEST = 24
_CLEAR = 0.25
"""Share of the maps' variance that features must tell lest turned images are tried (ratio)."""
_SUSPICIOUS = 2
"""Maps that fit a turned image better from which on it is looked at closely."""


class DataAlignment(Experiment):
    """Fills ``data_alignment``: a row where the data are images with a map for each.

    ``explained`` is what local features tell of the maps, ``turned_explained`` the same of images that
    are turned as the row's ``turn`` says; ``fits`` counts samples whose map fits the image as it is,
    ``wins`` those where it fits the turned one, and clearly better, ``by_chance`` the same with the
    image of another sample. ``mask`` tells maps of classes.
    """

    fact = "data_alignment"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Compare the samples that were looked at."""
        if rig.recipe.batch_dim is None:
            raise NotApplicableError("samples do not stand alone (batch_dim=None)")
        pair = _pair([each_once(place) for place in places(rig, look(rig))])
        if pair is None:
            raise NotApplicableError("the data are not images with a map for each")
        images, maps = pair
        telling = _that_vary(maps.values)
        if len(telling) < _FEWEST:
            raise CannotTellError(f"only {len(telling)} maps vary: they do not tell how they lie")
        found = _compared(images, maps, telling, _GLANCE, turned=False)
        if max(found.wins.values()) >= _SUSPICIOUS or found.explained < _CLEAR:
            found = _compared(images, maps, telling, _CLOSE)
        return [_row(images, maps, found)]


def _pair(given: list[Place]) -> tuple[Place, Place] | None:
    """The one input that is an image and the one target that is a map."""
    images = [p for p in given if not p.is_target and p.values.dim() > 3]  # noqa: PLR2004  of images
    targets = [p for p in given if p.is_target]
    if len(images) != 1 or len(targets) != 1 or images[0].indices != targets[0].indices:
        return None
    image, target = images[0].values, targets[0].values
    if len(image) != len(target) or not are_maps(image, target):
        return None
    whole = bool(image.isfinite().all()) and bool(target.isfinite().all())
    return (images[0], targets[0]) if whole else None


def _that_vary(maps: Tensor) -> Tensor:
    """Which of them: an image without any of the objects fits its map however it is turned."""
    flat = maps.flatten(1)
    return (flat.amin(1) < flat.amax(1)).nonzero().flatten()


def _compared(
    images: Place, maps: Place, telling: Tensor, count: int, *, turned: bool = True
) -> Alignment:
    some = telling[torch.linspace(0, len(telling) - 1, min(count, len(telling))).round().long()]
    return aligned(images.values[some], maps.values[some], turned=turned)


def _row(images: Place, maps: Place, found: Alignment) -> Row:
    best = max(found.turned, key=lambda name: found.turned[name], default="")
    clear = bool(best) and found.turned[best] > 2 * found.explained
    turn = best if clear else max(found.wins, key=lambda name: found.wins[name])
    values = maps.values.flatten()[: 1 << 16]
    return Row(
        image=images.name,
        map=maps.name,
        samples=found.samples,
        explained=found.explained,
        turn=turn,
        turned_explained=found.turned.get(turn),
        fits=found.fits,
        wins=found.wins[turn],
        by_chance=found.by_chance,
        mask=not values.is_floating_point() or torch.unique(values).numel() <= 2,  # noqa: PLR2004
    )
