"""Labels that are all one, in words. Thresholds are the check's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import dropwhile

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

LOOKED = 24
"""Losses from the first on, all of which are looked at."""
ALONE = Row(
    classes=10,
    label=0.0,
    losses=31,
    own=True,
    whole=True,
    rows=992,
    rows_each=32,
    labels_each=32,
)
"""What losses of one class of ten were given, for the examples of a check."""


@dataclass(frozen=True)
class OneLabel:
    """A classifier that was shown one label alone.

    Attributes:
        row: what its losses were given.
    """

    row: Row

    @classmethod
    def of(cls, trace: Trace, fewest: int) -> OneLabel | None:
        """Where one is seen; None where there is none, or where it is another check's.

        Args:
            trace: of a watched loop.
            fewest: losses looked at from which on it is told.
        """
        if trace.rows("data_order"):
            return None  # sorted by class, and nobody shuffles
        rows = (row for row in trace.rows("one_label") if row.flag("own"))
        return next((cls(row) for row in rows if row.integer("losses") >= fewest), None)

    def is_sure(self, trace: Trace, seen: int) -> bool:
        """Whether no other label can have come where nobody looked, however rare.

        Args:
            trace: of a watched loop.
            seen: samples without any from which on there are none.
        """
        loop, row = trace.row("loop"), self.row
        if 0 < loop.integer("loader_length") <= min(LOOKED, row.integer("losses")):
            return loop.integer("fresh_batches") >= loop.integer("steps")
        # A label that was never seen before is told with less than even odds.
        other = math.log(2) / row.integer("labels_each")
        since = list(dropwhile(lambda loss: loss > other / 2, trace.series("loss").values))
        return (
            row.flag("whole")
            and max(since, default=math.inf) < other
            and len(since) * row.integer("rows_each") >= seen
        )

    @property
    def _which(self) -> str:
        label, classes = f"{self.row.number('label'):g}", self.row.integer("classes")
        return f"class {label} of {classes}" if classes > 1 else label

    @property
    def _seen(self) -> str:
        rows, losses = self.row.integer("rows"), self.row.integer("losses")
        return f"the labels of all {rows} samples in {losses} losses looked at are {self._which}"

    def fault(self) -> Fault:
        """It is so in the whole run."""
        return Fault(
            because=f"{self._seen}: a model that always answers this has no loss",
            measures=(Measure("labels among the targets of the loss", 1, "count", 2, ">="),),
            suspects=(Suspect("loss", f"the targets are all {self._which}"),),
            cause=(
                f"all labels are the same ({self._which}): they are overwritten or cast on their way to "
                "the loss, the wrong column is read, or all other classes were filtered out"
            ),
            remedy="print targets.unique() right before the loss, and of the data set's own labels",
        )

    def advice(self) -> str:
        """It may be so elsewhere, or the other labels are rare."""
        return (
            f"{self._seen}: are the others that rare, or were they lost? print targets.unique() right "
            "before the loss"
        )
