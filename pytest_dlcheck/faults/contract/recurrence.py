"""Recurrent cells whose steps are thrown away, all but the last, told in words."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_STORIES = {
    "same": "`{0}` is given the same hidden state at every step, never the one that it gave",
    "anew": "the hidden state of `{0}` is begun anew at every step",
}


def thrown_away(rows: Sequence[Row]) -> Fault | None:
    """Cells of which the last step alone counts; None where all others do, too."""
    lost = [row for row in rows if row.integer("thrown_away")]
    if not lost:
        return None
    first, name = lost[0], lost[0].text("site") or "model"
    count = f"{first.integer('thrown_away')} of {first.integer('calls')}"
    story = _STORIES[first.text("state")].format(name)
    return Fault(
        f"what {count} calls of `{name}` give changes no output (bound 0): all but the last",
        measures=(Measure("steps of a cell thrown away", first.integer("thrown_away"), "count", 0),),
        suspects=[
            Suspect(row.text("site") or "model", "its steps are thrown away, all but the last")
            for row in lost
        ],
        cause=f"{story}: nothing of the earlier ones reaches the output",
        remedy=f"begin the hidden state once, before the loop, and hand on what `{name}` gives",
    )
