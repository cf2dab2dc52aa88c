"""Whether masks and other maps lie on the images that they belong to."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.run.contents.alignment import are_maps
from pytest_dlcheck.run.contents.map_rows import FEWEST, row_of
from pytest_dlcheck.run.contents.places import Place, each_once, places
from pytest_dlcheck.run.data.samples import look
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


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
        row = row_of(images.values, maps.values, images.name, maps.name)
        if row is None:
            raise CannotTellError(f"fewer than {FEWEST} maps vary: they do not tell how they lie")
        return [row]


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
