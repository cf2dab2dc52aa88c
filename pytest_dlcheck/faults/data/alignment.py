"""Maps that do not lie on their images, told in words. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_SHARE = 0.1
"""Share of samples whose map fits the turned image only from which on that is a fault (ratio);
healthy data have 0, data of which half were flipped 0.34 to 0.4."""
_FEWEST = 6
_CHANCE = 4
"""How many times more often than with another sample's image that must be."""
_CLEAR = 0.2
"""Share of the maps' variance that turned images tell, where they lie so throughout (ratio)."""
_FLIPS = {"mirrored left to right", "mirrored top to bottom", "turned by 180 degrees"}
"""What nobody does on purpose to one of the two; a canonical view may be wanted of turned images."""
_REMEDY = "draw a random transform once for both (torchvision.transforms.v2 with tv_tensors.Mask)"


def apart(rows: Iterable[Row]) -> Iterator[Fault]:
    """Masks, or mirrored maps, that lie on turned images; of other maps that may be meant."""
    for row in rows:
        if is_turned(row) and (row.flag("mask") or row.text("turn") in _FLIPS):
            yield _fault(row)


def turned_apart(trace: Trace) -> Fault | None:
    """Masks, as the losses of a training have them, that lie on what the model was called on turned.

    Not where its outputs change as if images were turned so: it turns them itself, or has learned to.
    """
    meant = {row.text("turn") for row in trace.rows("turned_within")}
    rows = [row for row in trace.rows("data_alignment") if row.flag("mask")]
    return next(apart(row for row in rows if row.text("turn") not in meant), None)


def advice(rows: Iterable[Row]) -> Iterator[str]:
    """The same of maps that may be meant to be turned."""
    for row in rows:
        if is_turned(row):
            yield f"{_story(row)}: is that meant?"


def is_turned(row: Row) -> bool:
    """Whether some or all maps surely fit turned images better than those that they come with."""
    wins, samples = row.integer("wins"), row.integer("samples")
    often = wins >= max(_FEWEST, _SHARE * samples) and wins >= _CHANCE * row.integer("by_chance")
    return often or _is_throughout(row)


def _is_throughout(row: Row) -> bool:
    turned = row.number("turned_explained")
    return turned >= _CLEAR and row.number("explained") < turned / _CHANCE


def _story(row: Row) -> str:
    image, target, turn = (row.text(name) for name in ("image", "map", "turn"))
    if _is_throughout(row):
        told, turned = max(row.number("explained"), 0.0), row.number("turned_explained")
        return (
            f"{image} {turn} tells {turned:.0%} of where {target} is high, as it is {told:.0%} "
            f"(bound {turned / _CHANCE:.0%})"
        )
    wins, samples = row.integer("wins"), row.integer("samples")
    return (
        f"in {wins} of {samples} samples {target} fits {image} {turn}, and not as it is "
        f"(bound {max(_FEWEST, _SHARE * samples):.0f})"
    )


def _fault(row: Row) -> Fault:
    share, turn = row.integer("wins") / max(1, row.integer("samples")), row.text("turn")
    how = turn.removeprefix("with ")
    if not _is_throughout(row) and row.integer("fits") < row.integer("wins"):
        how = "moved, mirrored or turned"
    return Fault(
        _story(row),
        (Measure("samples that fit turned images only", share, "ratio", _SHARE),),
        [Suspect("data", f"{row.text('map')} belongs to {row.text('image')} {turn}", _REMEDY)],
        cause=f"images were {how} without their masks or targets: an augmentation, or an exchange of "
        "axes, reaches only one of the two",
        remedy=_REMEDY,
    )
