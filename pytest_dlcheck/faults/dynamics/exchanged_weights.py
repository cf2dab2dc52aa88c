"""Averages and targets whose weights are exchanged, told as a fault. Thresholds included."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

BEHIND = 0.1
"""Steps (count) that an average stays behind the weights by at least, if it is one: keeping half of
itself makes it one step, a tenth makes it a ninth."""
_SEVERAL = 3
"""Looks (count) that are no accident."""


def turned_updates(copies: Sequence[Row]) -> Fault | None:
    """A copy that takes nearly all of the weights at each update, and keeps next to nothing of itself.

    One that is synchronised is the same as the weights, or whole steps behind them.

    Args:
        copies: models that no optimizer steps, beside what they follow.
    """
    for copy in copies:
        most, looks = copy.number("most_behind"), copy.integer("looks_behind")
        if looks < _SEVERAL or not 0 < copy.number("least_behind") <= most < BEHIND:
            continue
        return Fault(
            because=(
                f"at each of {looks} looks {copy.text('model')} has followed the weights to within "
                f"{most:.2g} of a step, and was not the same (an average stays {BEHIND:g} or more "
                "behind)"
            ),
            measures=(Measure("steps that it is behind", most, "count", BEHIND, ">="),),
            suspects=(Suspect(copy.text("model"), "keeps next to nothing of itself at each update"),),
            cause=(
                "the weights of a moving average (EMA, soft update of a target) are exchanged: decay "
                "weighs the new weights, and 1 - decay the average"
            ),
            remedy=(
                "average.lerp_(weights, 1 - decay), that is decay * average + (1 - decay) * weights; "
                "target.lerp_(weights, tau)"
            ),
        )
    return None
