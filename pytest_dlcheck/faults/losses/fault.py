"""What a fault of a loss is, in the words of a verdict."""

from __future__ import annotations

from typing import NamedTuple

from pytest_dlcheck.verdict import Measure


class Fault(NamedTuple):
    """What is wrong with the loss."""

    site: str
    finding: str
    cause: str
    remedy: str
    measure: Measure
    over_batch: bool = False
    """Whether it mixes samples, which other checks see too."""
