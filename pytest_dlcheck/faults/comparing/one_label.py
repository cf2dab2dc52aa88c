"""Labels that are all one, in words. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect


def told(trace: Trace, seen: int, fewest: int) -> Fault | None:
    """A classifier that is shown one label alone; None where there is no such.

    Args:
        trace: of a watched loop.
        seen: labels from which on it is told.
        fewest: losses looked at from which on it is told.
    """
    if trace.rows("data_order"):
        return None  # sorted by class, and nobody shuffles: another check's
    for row in trace.rows("one_label"):
        if row.flag("own") and row.integer("labels") >= seen and row.integer("losses") >= fewest:
            return _fault(row)
    return None


def _fault(row: Row) -> Fault:
    label, classes = f"{row.number('label'):g}", row.integer("classes")
    which = f"class {label} of {classes}" if classes > 1 else label
    count, losses = row.integer("labels"), row.integer("losses")
    because = (
        f"all {count} labels that the loss compares with, in {losses} losses looked at, are {which}: a "
        "model that always answers this has no loss"
    )
    return Fault(
        because=because,
        measures=(Measure("labels among the targets of the loss", 1, "count", 2, ">="),),
        suspects=(Suspect("loss", f"the targets are all {which}"),),
        cause=(
            f"all labels are the same ({which}): they are overwritten or cast on their way to the loss, "
            "the wrong column is read, or all other classes were filtered out"
        ),
        remedy="print targets.unique() right before the loss, and of the data set's own labels",
    )
