"""What a discriminator and its opponent are told of made samples, as faults. No judgement."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_WAYS = {1: "up", -1: "down"}


def told_the_same(row: Row) -> Fault:
    """Data and made samples have one label."""
    judge, count, way = row.text("judge"), row.integer("scores"), _WAYS[row.integer("data")]
    remedy = "give data one label and what is made the other: ones and zeros, or the signs of a critic"
    return Fault(
        because=(
            f"in {count} of {count} steps looked at (0 may) the loss of {judge} pushes its scores {way} "
            "both on data and on what another network made"
        ),
        measures=(Measure("steps that push both one way", count, "count", 0),),
        suspects=(Suspect("loss", f"data and made samples have one label for {judge}", remedy),),
        cause="the discriminator is told the same of data and of made samples",
        remedy=remedy,
    )


def makes_it_easy(row: Row) -> Fault:
    """Who makes samples is trained to be found out."""
    judge, count, way = row.text("judge"), row.integer("scores_for_makers"), _WAYS[row.integer("made")]
    remedy = "in the generator's loss give made samples the label of data, or turn the critic's sign"
    return Fault(
        because=(
            f"in {count} of {count} steps looked at (0 may) the loss of what makes samples pushes their "
            f"scores by {judge} {way}, as the loss of {judge} does"
        ),
        measures=(Measure("steps in which both push one way", count, "count", 0),),
        suspects=(Suspect("loss", "what makes samples is trained to have them told as made", remedy),),
        cause="the generator's loss has the label, or the sign, of made samples: nobody is opposed",
        remedy=remedy,
    )
