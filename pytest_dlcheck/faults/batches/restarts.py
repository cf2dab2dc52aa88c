"""A loader that is begun anew for every batch, told as a fault. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def begun_anew(distinct: int, seen: int, few: int, *, passes: int, length: int) -> Fault:
    """It is the only one.

    Args:
        distinct: batches that differ.
        seen: recorded steps.
        few: batches up to which it is a fault.
        passes: how often it was begun.
        length: batches that it has.
    """
    return Fault(
        because=f"{distinct} distinct batches in {seen} recorded steps ({few + 1} or more should be)",
        measures=(Measure("distinct batches", distinct, "count", few + 1, ">="),),
        suspects=[Suspect("data", f"{passes} passes over a loader of {length} batches, 1 batch each")],
        cause="the data loader is begun anew at every step: next(iter(loader)) inside the loop",
        remedy="iterate over the loader: for batch in loader",
    )


def one_of_several(rows: Iterable[Row], enough: int, anew: float) -> Fault | None:
    """Of several data sets, one of which every step reads the first batch; None where there is none.

    Args:
        rows: data sets that are begun anew each time, with the same batch.
        enough: batches that are no accident.
        anew: steps (ratio) that must begin it anew.
    """
    for row in rows:
        begun, trained = row.integer("begun"), row.integer("trained")
        is_sure = min(row.integer("compared"), trained) >= enough
        if is_sure and row.integer("others") and begun >= anew * row.integer("steps"):
            return _of_several(row)
    return None


def _of_several(row: Row) -> Fault:
    begun, length = row.integer("begun"), row.integer("length")
    return Fault(
        because=(
            f"1 distinct batch of one of {row.integer('others') + 1} data sets that are read, in "
            f"{row.integer('compared') + 1} of its {begun} passes (2 or more should be)"
        ),
        measures=(Measure("distinct batches", 1, "count", 2, ">="),),
        suspects=[
            Suspect(
                "data", f"{begun} passes over a loader of {length} batches, the first batch each time"
            )
        ],
        cause=(
            "one of the data loaders is begun anew at every step, next(iter(loader)) inside the loop: "
            "it gives the same batch, its first, for ever"
        ),
        remedy="keep its iterator, and begin it anew where it ends; or shuffle it",
    )


def only_first_batches(turns: int, length: int) -> str:
    """Where they differ: advice.

    Args:
        turns: steps in a row for which a batch is used.
        length: batches that the loader has.
    """
    if turns > 1:
        return (
            f"a batch is used for {turns} steps in a row, and the loader, of {length} batches, "
            "is begun anew for the next: only first batches are used"
        )
    return "the loader is begun anew at every step: only first batches are used"
