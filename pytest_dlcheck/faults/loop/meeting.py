"""Samples of a batch that meet in a watched model: told as a fault where nobody can mean it."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.contract import mixing
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row

_VIEWS = frozenset({"view", "reshape", "unflatten", "view_as", "reshape_as", "resize_"})
"""They move no axis: a part of one sample comes to lie in the row of another."""
_OF_MANY = frozenset({"mean", "std", "var", "normalize", "cumsum", "softmax", "log_softmax"})
"""They take an axis, which may be the wrong one; a discriminator may mean that of the samples."""
_SEQUENCES = 3


def met(rows: tuple[Row, ...]) -> Fault | None:
    """By a view, or a layer of sequences that takes samples for steps, where a loader stacked them."""
    found = (mixing.mixed(row) for row in filter(_are_mixed, rows) if row.flag("from_loader"))
    return next(found, None)


def advice_on(rows: tuple[Row, ...]) -> Iterator[str]:
    """By what may be meant; so may all where rows are samples only by having a target each: nodes do."""
    for row in filter(_meet, rows):
        if _are_mixed(row) and not row.flag("from_loader"):
            told = mixing.mixed(row)
            yield f"{told.because}; {told.cause}: unless the rows are no samples, {told.remedy}"
        if row.text("operation") in _OF_MANY and "BatchNorm" not in row.text("culprit_type"):
            output, place = row.text("output"), f"{row.text('operation')} ({row.text('line')})"
            yield (
                f"{output} of a sample depends on its neighbours in the batch, in eval mode too, by "
                f"{place}: name another axis, unless it is meant"
            )


def _are_mixed(row: Row) -> bool:
    return bool(_sizes(row, "given")[2:]) and (row.text("operation") in _VIEWS or _is_turned(row))


def _meet(row: Row) -> bool:
    return row.number("change") > row.number("bound")


def _is_turned(row: Row) -> bool:
    """Whether a layer takes the second axis for that of the samples, and it is one of what was given."""
    given, taken = _sizes(row, "given"), _sizes(row, "culprit_input")
    if row.get("batch_first") is not False or len(taken) != _SEQUENCES:
        return False
    return taken[1] > 1 and taken[1] in given[1:]


def _sizes(row: Row, name: str) -> list[int]:
    return [int(size) for size in row.text(name).strip("[]").split(", ") if size]
