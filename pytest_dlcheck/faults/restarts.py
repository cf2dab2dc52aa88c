"""A loader that is begun anew for every batch, told as a fault. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.verdict import Measure, Suspect


def begun_anew(*, distinct: int, seen: int, few: int, passes: int, length: int) -> Fault:
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
