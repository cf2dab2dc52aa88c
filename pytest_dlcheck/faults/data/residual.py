"""Inputs that differ from their targets by the same numbers in every sample, told as a fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_SMOOTH = 0.3
"""Correlation of neighbours (ratio) from which on a difference is no noise but an offset, such as a mean
image or a position's code, which may be meant; of 64 numbers of noise one axis in 80 has more."""
_REMEDY = "draw it anew for each sample: seed the generator by the index, or make it once, in __init__"


def same_noise(rows: Iterable[Row]) -> Iterator[Fault]:
    """The same noise in every sample.

    Args:
        rows: of the inputs.
    """
    for row in rows:
        spread, count = row.number("residual_spread"), row.integer("residual_samples")
        if not count or row.number("residual_alike") >= _SMOOTH:
            continue
        place = row.text("place")
        yield Fault(
            f"1 pattern of noise in {count} samples looked at (bound 2): {place} minus target has a "
            f"standard deviation of {spread:.3g} within a sample, and is the same in all",
            (Measure("patterns of noise", 1, "count", 2, ">="),),
            [Suspect("data", f"{place} minus target is the same in {count} samples", _REMEDY)],
            cause=f"{place} holds the same noise in every sample: a constant that is subtracted undoes "
            "it, and nothing is learned of the data",
            remedy=_REMEDY,
        )
