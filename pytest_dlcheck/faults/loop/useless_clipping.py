"""Clipping where it has no effect, told in words. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.trace import Row


def useless(row: Row, few: int, nearly_all: float) -> Iterator[str]:
    """Advice where clipping changes nothing that is applied."""
    looked = row.integer("clips_looked")
    after, again = row.integer("clips_after_step"), row.integer("clips_again")
    if row.flag("clips_bounded") and after > few and after >= nearly_all * looked:
        yield (
            f"{after} of {looked} clippings come after the step, on gradients that it has applied "
            "already: clip between backward and step"
        )
    if again > few and 2 * again >= nearly_all * looked:
        yield (
            f"{again} of {looked} clippings are of parameters that were clipped just before: is the "
            "second call meant for others?"
        )
