"""What a gate is held against: earlier measurements of the same recipe. Values; nothing is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Past:
    """One measure of one earlier run, on a machine of the same kind.

    Attributes:
        commit: the commit that was measured.
        time: when, in seconds since 1970, UTC.
        value: the number, in the measure's unit.
        samples: the independent measurements behind it: one per seed, fold or process.
    """

    commit: str
    time: float
    value: float
    samples: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """The earlier runs that one recipe is held against.

    Attributes:
        name: what was asked for: a branch or other reference, or ``"accepted"``; empty for nothing.
        runs: measure name -> its earlier runs, oldest first.
        traces: what earlier trainings recorded, by seed, as their journal would hold it.
        notice: why there is nothing to hold against, such as another machine; empty if there is.
    """

    name: str = ""
    runs: Mapping[str, tuple[Past, ...]] = field(default_factory=dict)
    traces: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    notice: str = ""

    def of(self, measure: str) -> tuple[Past, ...]:
        """The earlier runs of a measure, oldest first; none where it was never recorded."""
        return self.runs.get(measure, ())


NO_BASELINE = Baseline()
"""Nothing to hold against."""
