"""What a fault is, in the words of a verdict. Whether it is one was the check's to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_dlcheck.verdict import Measure, Suspect


@dataclass(frozen=True)
class Fault:
    """What is wrong, where, why, and what to do about it; the parts of a failed verdict."""

    because: str
    measures: tuple[Measure, ...]
    suspects: Sequence[Suspect]
    cause: str
    remedy: str
