"""A loss over classes that compares with one class alone, told as fault or advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_TARGETS = 64
"""Targets from which on it can be told; chosen."""
_BATCHES = 2
_CHANCE = 1e-6
"""Chance that all of them are one class by, where the data's own labels have others; chosen."""
_SEVERAL = 3
_TABLE = 2


def of_one_class(row: Row) -> Iterator[Fault]:
    """Targets that were all turned into one class on their way to the loss.

    Args:
        row: what a few batches showed.
    """
    if row.text("part") == "one_class" and _is_certain(row) and _is_all(row):
        label, count, classes = row.integer("label"), row.integer("targets"), row.integer("classes")
        text = f"all {count} targets that the loss compares with, in {row.integer('batches')} batches, "
        yield Fault(
            "loss",
            f"{text}are class {label} of {classes}",
            _cause(row),
            "print the targets right before the loss; keep labels = ids.clone() from before the masking",
            Measure("classes among the targets of the loss", 1, "count", 2, ">="),
        )


def advice_on_one_class(row: Row) -> Iterator[str]:
    """The same of one term among others, which can be meant."""
    if row.text("part") == "one_class" and _is_certain(row) and not _is_all(row):
        yield (
            f"a term of the loss over {row.integer('classes')} classes compares with class "
            f"{row.integer('label')} alone ({row.integer('targets')} targets, {row.integer('batches')} "
            "batches), though the labels have others: is that meant?"
        )


def _is_certain(row: Row) -> bool:
    count = row.integer("targets")
    if count < _TARGETS or row.integer("batches") < _BATCHES:
        return False
    return row.flag("shown") or row.number("share") ** count < _CHANCE


def _is_all(row: Row) -> bool:
    wide = row.integer("classes") >= _SEVERAL and row.integer("dims") >= _TABLE
    return row.flag("alone") or wide


def _cause(row: Row) -> str:
    label = row.integer("label")
    if row.flag("shown"):
        return f"the inputs hold {label} wherever it is to be told: labels were masked with the inputs"
    return (
        f"on their way to the loss all labels become {label}: they were overwritten in place (a mask "
        "token, padding), or selected by the wrong mask or axis"
    )
