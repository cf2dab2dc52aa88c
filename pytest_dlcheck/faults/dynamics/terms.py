"""Losses of which a term is propagated alone, told as a fault, or as advice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect


def propagated_alone(traces: Iterable[Trace]) -> Fault | None:
    """A loop adds its loss up, and calls backward on one term, always; None where none does.

    Args:
        traces: of the training.
    """
    row = next((row for row in _rows(traces) if row.flag("one_term_is_sure")), None)
    if row is None:
        return None
    part, _, total = row.text("one_term").partition(" of ")
    looked = row.integer("one_term_looked")
    return Fault(
        because=(
            f"in {looked} of {looked} backward passes looked at (0 should) {part} is propagated, a part "
            f"of the loss `{total}`, whose other terms reach trained parameters: nothing is made of "
            "them but numbers"
        ),
        measures=(Measure("backward passes of one term alone", looked, "count", 0),),
        suspects=(Suspect("loss", f"backward is called on {part} alone, a part of `{total}`"),),
        cause=f"backward is called on {part}, which is but a part of the loss `{total}`",
        remedy=f"call {total}.backward()",
    )


def advice(traces: Iterable[Trace]) -> Iterator[str]:
    """The same where the sum may be propagated at another time, or not be meant to.

    Args:
        traces: of the training.
    """
    for row in _rows(traces):
        part, _, total = row.text("one_term").partition(" of ")
        if not row.flag("one_term_is_sure"):
            yield (
                f"in {row.integer('one_term_looked')} backward passes looked at {part} is propagated, "
                f"a part of the loss `{total}`, and the rest never: unless that comes later, or is "
                f"left out on purpose, call {total}.backward()"
            )


def _rows(traces: Iterable[Trace]) -> Iterator[Row]:
    return (row for trace in traces if (row := trace.row("loop")).text("one_term"))
