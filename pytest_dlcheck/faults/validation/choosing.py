"""Answers chosen among a single output, told as a fault and as advice. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def chosen_among_one(row: Row, bound: int) -> Fault:
    """The score takes the argmax of a single output."""
    answers, where = row.integer("answers"), _place(row)
    return Fault(
        because=(
            f"{answers} answers were chosen by an argmax over one output{where}: class 0 for every "
            f"sample (fewer than {bound} may)"
        ),
        measures=(Measure("answers chosen among one output", answers, "count", bound, "<"),),
        suspects=(
            Suspect(
                row.text("model"),
                f"one output of shape {row.text('shape')}: its argmax is always 0, whatever was learned",
            ),
        ),
        cause="argmax, or max over an axis, of a model with a single output: the score never changes",
        remedy="compare the output with a threshold (logits > 0), or give the model an output per class",
    )


def advice_on_choices(row: Row) -> str:
    """The same of one of several outputs, where it may be one of a number that can be set to 1."""
    return (
        f"{row.text('model')} gives an output of shape {row.text('shape')}{_place(row)}, and its argmax "
        "is taken along the axis that has one: always 0, unless that number varies"
    )


def _place(row: Row) -> str:
    line = row.text("line")
    return f" ({line})" if line else ""
