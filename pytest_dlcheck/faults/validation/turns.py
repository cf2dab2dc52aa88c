"""Held-out data that are trained on in turns with others. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

ENOUGH = 3
"""Times (count) that the held-out data are trained on after the others: one is a last round on all."""


def trained_on_what_is_measured(rows: Iterable[Row]) -> Fault | None:
    """What the loop itself calls held out, and measures on, is only ever trained on; None where not."""
    for row in rows:
        only = row.integer("trained") == row.integer("passes")
        if _takes_turns(row) and only and row.text("measure"):
            return _fault(row)
    return None


def trained_in_turns(rows: Iterable[Row]) -> Iterator[str]:
    """Advice: all that has labels may be meant to be trained on, by loaders of their old names."""
    for row in rows:
        if _takes_turns(row):
            yield (
                f"`{row.text('name')}` is trained on in {row.integer('trained')} passes, in turns with "
                "other data that are shuffled, with its labels: unless that is meant, the validation "
                "trains, by an optimizer that it should not be given"
            )


def _takes_turns(row: Row) -> bool:
    return min(row.integer("turns"), row.integer("compared")) >= ENOUGH


def _fault(row: Row) -> Fault:
    name, trained = row.text("name"), row.integer("trained")
    return Fault(
        because=(
            f"the optimizer steps on the batches of `{name}` in {trained} of {row.integer('passes')} "
            f"passes over it, in turns with other data (fewer than {ENOUGH} may), and `"
            f"{row.text('measure')}` is measured meanwhile"
        ),
        measures=(Measure("passes over held-out data that train", trained, "count", ENOUGH, "<"),),
        suspects=(Suspect("data", f"validation data are trained on: `{name}`, with its labels"),),
        cause="the validation loop trains: it calls backward() and step(), as the training loop does",
        remedy="take backward and step out of the validation, and run it in eval mode under no_grad",
    )
