"""Validation samples that are training samples, told in words. Whether they are: the check's."""

from __future__ import annotations

import math

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

KINDS = 10
"""Different samples that are shared, from which on they are not a few blank ones that come often."""
_REMEDY = (
    "split once, by a seeded permutation of indices, and give each side its own; drop duplicates first"
)
_REMEDY_NEAR = "split first, then augment; keep all copies of one sample on one side"


def share(row: Row) -> float:
    """The share of validation samples that training holds, of those compared (ratio)."""
    return row.integer("matches") / max(1, row.integer("samples"))


def repeating(row: Row) -> float:
    """The rate at which samples of either side are as near to another of their own side (ratio)."""
    return max(row.number("repeated"), row.number("val_repeated"))


def nearly_shared(row: Row) -> float:
    """The share of validation samples that training nearly holds, beyond what repeats (ratio).

    Of some training samples only, as many of the matches are seen: the rest is reckoned.
    """
    seen = row.integer("train_samples") / max(
        row.integer("train_total"), row.integer("train_samples"), 1
    )
    return min(1.0, (share(row) - repeating(row)) / max(seen, 1e-9))


def natural(row: Row) -> float:
    """The rate (ratio) that chance explains: as training repeats, or validation, as dense, would.

    It explains none where a single number tells most samples apart: equal ones are then copies, even
    where there are as many on either side, as after oversampling before the split.
    """
    are_copies = row.flag("continuous") and row.integer("distinct") >= KINDS
    if row.text("by") != "content" or are_copies:
        return 0.0
    samples = max(1, row.integer("samples"))
    among_val = min(max(row.number("val_repeated"), 3 / samples), 1 - 1e-9)
    denser = row.integer("train_samples") / samples
    by_val: float = 1 - (1 - among_val) ** denser
    return min(row.number("repeated"), by_val)


def is_beyond_chance(row: Row, sure: float) -> bool:
    """Whether more is shared than what repeats by nature would, by so many standard errors (count)."""
    chance = natural(row)
    return share(row) > chance + (sure * error(row) if chance else 0.0)


def is_trusted(row: Row) -> bool:
    """Whether an origin that samples have in common was seen to be theirs; equal inputs always are."""
    return row.text("by") == "content" or row.flag("confirmed")


def visible(row: Row) -> float:
    """The smallest overlap (ratio) of which three matches are expected: seen 19 times in 20."""
    if row.integer("matches") and not is_trusted(row):
        return math.inf
    known = row.integer("train_total")
    seen = row.integer("train_samples") / known if known else 0.0
    return 3 / max(row.integer("samples") * seen, 1e-9)


def error(row: Row) -> float:
    """The standard error (ratio) of what is shared above what chance explains."""
    shared, chance = share(row), natural(row)
    variance = shared * (1 - shared) / max(1, row.integer("samples"))
    return math.sqrt(variance + chance * (1 - chance) / max(1, row.integer("train_samples")))


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


def near(row: Row, bound: float) -> Fault:
    """More than the bound (ratio) of the validation data is training data but for a little noise."""
    counted = f"{row.integer('matches'):,} of {row.integer('samples'):,} validation samples"
    known = f", of {_count(row, 'train_samples', 'train_total')} compared"
    example = f"val_data[{row.integer('first_val')}] is nearly train_data[{row.integer('first_train')}]"
    return Fault(
        f"{counted} are near duplicates of a training sample{known}: an overlap of "
        f"{nearly_shared(row):.0%} (bound {bound:.0%}), "
        f"{row.number('closest'):.2g} from it, where training samples lie {row.number('usual'):.2g} "
        "apart",
        (Measure("validation samples nearly in train_data", nearly_shared(row), "ratio", bound),),
        [Suspect("data", f"val_data overlaps train_data: {example}, a near duplicate", _REMEDY_NEAR)],
        cause="val_data holds augmented or re-encoded copies of what is trained on: it validates "
        "memory, not generalization",
        remedy=_REMEDY_NEAR,
    )


def some_near(row: Row) -> str:
    """A few near duplicates across the splits."""
    return (
        f"{row.integer('matches'):,} of {row.integer('samples'):,} validation samples are near "
        f"duplicates of training samples, val_data[{row.integer('first_val')}] of "
        f"train_data[{row.integer('first_train')}] for one"
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
