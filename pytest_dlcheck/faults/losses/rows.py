"""What can be wrong with the rows of classes that a loss is given, told as faults and advice."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_SHALLOW = 1 / 3
"""Factor of cosines (ratio) below which they are told: temperatures in use are 0.01 to 1."""
_STEEP = 500.0
"""The same above which they are told: CLIP ends at 100, margin losses use 64."""
_OUT_OF_REACH = 0.9
"""Least loss that such cosines can have over that of equal logits (ratio), from which it is told."""


def of_rows(row: Row) -> Iterator[Fault]:
    """Outputs that a reshape brought into an order that is not the targets'.

    Args:
        row: one call of a torch loss.
    """
    kind, cut, shape = row.text("kind"), row.text("cut_from"), row.text("shape")
    if mixed := row.integer("mixed"):
        text = (
            f"{kind} is given {shape}, reshaped from outputs {cut} without moving the axis of the "
            f"classes: a row mixes {mixed} positions"
        )
        cause = "view or reshape where a permute is meant: positions meet the labels of others"
        remedy = "move the classes by permute or transpose first, or give cross_entropy (N, C, ...)"
        yield Fault("loss", text, cause, remedy, Measure("positions in a row", mixed, "count", 1))
    if row.flag("turned"):
        wanted = row.text("wanted_shape")
        text = f"{kind} pairs outputs {cut} with targets {wanted}, both flattened: their order differs"
        cause = "time comes first in the one and samples in the other: outputs meet the labels of others"
        turned = Measure("axes in another order", 2, "count", 0)
        yield Fault("loss", text, cause, "transpose one of them before it is flattened", turned)


def shallow(row: Row) -> Iterator[str]:
    """Cosines that were made so small that no loss to speak of can come of them."""
    factor, count = row.number("cosine_factor"), row.integer("columns")
    if row.get("cosine_factor") is not None and 0 < factor < _SHALLOW and count > 1:
        least = math.log1p((count - 1) * math.exp(-2 * factor))
        if least >= _OUT_OF_REACH * math.log(count):
            yield (
                f"logits of {row.text('kind')} are cosines times {factor:.3g}: the loss cannot fall "
                f"below {least:.3g}, and starts at {math.log(count):.3g}: is the temperature "
                "multiplied where it should divide?"
            )


def advice_on_rows(row: Row) -> Iterator[str]:
    """What is suspicious, but can be meant."""
    factor = row.number("cosine_factor")
    yield from shallow(row)
    if factor >= _STEEP:
        yield (
            f"logits of {row.text('kind')} are cosines times {factor:.3g}, a temperature of "
            f"{1 / factor:.2g}: in use are 0.01 to 1; the nearest wrong answer alone is seen"
        )
    if row.flag("reordered"):
        yield (
            f"outputs {row.text('cut_from')} and targets {row.text('wanted_shape')} of "
            f"{row.text('kind')} are made alike by a reshape: is a permute meant?"
        )
    index, share, known = row.integer("ignore_index", -1), row.number("ignored"), row.integer("classes")
    a_class = row.flag("one_each") and 0 <= index < known
    if a_class and 0 < share < 1 and row.integer("wanted_classes") > 1:
        yield (
            f"ignore_index={index} of {row.text('kind')} is one of its {known} classes: "
            f"{row.integer('ignored_count')} targets of class {index} ({share:.0%}) are not learned"
        )
