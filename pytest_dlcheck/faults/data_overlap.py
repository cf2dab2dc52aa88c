"""Validation samples that are training samples, told in words. Whether they are: the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = (
    "split once, by a seeded permutation of indices, and give each side its own; drop duplicates first"
)


def share(row: Row) -> float:
    """The share of validation samples that training holds, of those compared (ratio)."""
    return row.integer("matches") / max(1, row.integer("samples"))


def measure(row: Row, bound: float) -> Measure:
    """That share beside its bound."""
    return Measure("validation samples that are in train_data", share(row), "ratio", bound)


def overlap(row: Row, bound: float) -> Fault:
    """More than the bound (ratio) of the validation data is training data."""
    counted = f"{row.integer('matches'):,} of {row.integer('samples'):,} validation samples"
    how = {
        "content": "have inputs equal to a training sample's",
        "indices": "are taken from the data set by indices that training takes too",
        "files": "are files that training reads too",
        "rows of memory": "are rows of the very memory that training reads",
    }[row.text("by")]
    example = f"val_data[{row.integer('first_val')}] is train_data[{row.integer('first_train')}]"
    return Fault(
        f"{counted} ({share(row):.0%}) {how} (bound {bound:.0%})",
        (measure(row, bound),),
        [Suspect("data", f"val_data overlaps train_data: {example}", _REMEDY)],
        cause=_cause(row),
        remedy=_REMEDY,
    )


def some(row: Row) -> str:
    """A few duplicates across the splits."""
    return (
        f"{row.integer('matches'):,} of {row.integer('samples'):,} validation samples are also in "
        f"train_data, val_data[{row.integer('first_val')}] for one"
    )


def compared(row: Row) -> str:
    """How many samples were compared with how many."""
    return (
        f"{_count(row, 'samples', 'total')} validation samples, "
        f"{_count(row, 'train_samples', 'train_total')} of training"
    )


def _count(row: Row, samples: str, total: str) -> str:
    few, all_of = row.integer(samples), row.integer(total)
    return f"{few:,} of {all_of:,}" if all_of > few else f"{few:,}"


def _cause(row: Row) -> str:
    if row.flag("same_object") or (
        share(row) == 1 and row.integer("total") == row.integer("train_total")
    ):
        return "val_data is the training data itself: what is validated is memory, not generalization"
    return "val_data was cut from what is trained on: it validates memory, not generalization"
