"""Where two trainings of one recipe part: the first recorded number that differs, and how far."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_dlcheck.trace import Matrix, Series, Trace

ORDER = (
    ("batch_fingerprint", "the batch"),
    ("parameter_norm", "parameter norm"),
    ("activation_rms", "activation"),
    ("loss", "the loss"),
    ("gradient_norm", "gradient norm"),
    ("update_norm", "update norm"),
)
"""Channels in the order in which a step fills them, with what they are called: what differs first in
this order is nearest to the cause."""
BACKWARD = frozenset({"gradient_norm"})
"""Filled from the last site to the first."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first number in which two trainings differ.

    Attributes:
        step: at which it was recorded, counted from 0.
        channel: whose number it is.
        site: the parameter or module; empty for what has no site.
        ours: the number of the code at hand.
        theirs: that of the other.
    """

    step: int
    channel: str
    site: str
    ours: float
    theirs: float

    @property
    def relative(self) -> float:
        """How far apart the two are, in proportion to the larger."""
        return abs(self.ours - self.theirs) / max(abs(self.ours), abs(self.theirs))

    @property
    def place(self) -> str:
        """Where that is, as suspects name it."""
        return self.site or ("data" if self.channel == "batch_fingerprint" else self.channel)

    def __str__(self) -> str:
        words = dict(ORDER)[self.channel]
        where = f"{self.site} ({words})" if self.site else words
        return f"at step {self.step}, in {where}, by {self.relative:.2g} relative"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two trainings, number by number.

    Attributes:
        compared: numbers that both have recorded.
        differing: how many of them differ.
        first: the first that differs; None where all are equal.
        alone: parameters that only one of the two has, each with where: ``"here"`` or ``"there"``.
    """

    compared: int
    differing: int
    first: Difference | None
    alone: tuple[tuple[str, str], ...] = ()


_Number = tuple[int, int, str, str, float, float]


def compare(ours: Trace, theirs: Trace) -> Comparison:
    """Compare what both have recorded.

    Args:
        ours: the training of the code at hand.
        theirs: that of the other code, under the same seed.
    """
    numbers = [number for place, _ in enumerate(ORDER) for number in _shared(place, ours, theirs)]
    differing = [n for n in numbers if n[4] != n[5] and math.isfinite(n[4]) and math.isfinite(n[5])]
    first = min(differing, key=lambda n: (n[0], n[1]), default=None)
    mine, other = _sites(ours), _sites(theirs)
    return Comparison(
        compared=len(numbers),
        differing=len(differing),
        first=None if first is None else Difference(first[0], *first[2:]),
        alone=(
            *((site, "here") for site in mine if site not in other),
            *((site, "there") for site in other if site not in mine),
        ),
    )


def _sites(trace: Trace) -> tuple[str, ...]:
    return trace.matrix("gradient_norm").sites


def _shared(place: int, ours: Trace, theirs: Trace) -> Iterator[_Number]:
    """Numbers of one channel that both have, step by step, within a step in the order of the pass."""
    name = ORDER[place][0]
    mine, other = ours.channels.get(name), theirs.channels.get(name)
    if mine is None or other is None:
        return
    a, b = _rows(mine), _rows(other)
    for step in sorted(a.keys() & b.keys()):
        sites = [site for site in a[step] if site in b[step]]
        for site in reversed(sites) if name in BACKWARD else sites:
            x, y = a[step][site], b[step][site]
            if x is not None and y is not None:
                yield step, place, name, site, x, y


def _rows(channel: Series | Matrix) -> dict[int, dict[str, float | None]]:
    if isinstance(channel, Series):
        return {step: {"": value} for step, value in zip(channel.steps, channel.values, strict=True)}
    rows = zip(channel.steps, channel.values, strict=True)
    return {step: dict(zip(channel.sites, row, strict=True)) for step, row in rows}
