"""What a history holds, as values: runs, what they measured, on which machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.trace import tagged, untagged
from pytest_dlcheck.verdict import Measure, Outcome

ACCEPTED_ONES = "accepted"
"""The name under which gates are held against what was accepted, in place of a branch's."""


@dataclass(frozen=True, slots=True)
class Run:
    """A session that measured something.

    Attributes:
        uid: its own name, as no other session has.
        time: when it began, in seconds since 1970, UTC.
        commit: what was checked out, its full name; empty without git.
        branch: its branch, as far as it was known.
        dirty: whether tracked files differed from the commit.
        plugin_version: of pytest-dlcheck.
        torch_version: of PyTorch.
    """

    uid: str
    time: float
    commit: str = ""
    branch: str = ""
    dirty: bool = False
    plugin_version: str = ""
    torch_version: str = ""

    def to_json(self) -> dict[str, Any]:
        """The run as JSON; :meth:`from_json` reads it back."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """The run that :meth:`to_json` wrote.

        Raises:
            TypeError, ValueError: it is not one.
        """
        words = {
            name: str(data.get(name, "")) for name in cls.__slots__ if name not in {"time", "dirty"}
        }
        return cls(**words, time=float(data["time"]), dirty=bool(data.get("dirty")))

    @property
    def place(self) -> str:
        """The commit in short, with a mark where the tree was dirty."""
        return f"{self.commit[:10] or 'no commit'}{'+' if self.dirty else ''}"


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of one recipe on one kind of machine: what has a history.

    Attributes:
        recipe: the node id of the recipe's variant, which stays the same whatever else is selected.
        check: the gate that measures it.
        measure: the quantity, in the field's term.
        unit: its unit.
        machine: where it was measured.
    """

    recipe: str
    check: str
    measure: str
    unit: str
    machine: Machine = field(default_factory=Machine)

    @property
    def short(self) -> str:
        """The recipe's name without its file."""
        return self.recipe.rpartition("::")[2] or self.recipe


@dataclass(frozen=True, slots=True)
class Entry:
    """One measure of a run.

    Attributes:
        series: what it belongs to.
        outcome: of the verdict that it stood in.
        measure: the number, its bound, interval and samples.
    """

    series: Series
    outcome: Outcome
    measure: Measure


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """What a training recorded.

    Attributes:
        recipe: the node id of the recipe's variant.
        machine: where it was run.
        seed: of the training.
        trace: as its journal holds it.
    """

    recipe: str
    machine: Machine
    seed: int
    trace: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One measure in its series, with the run that it is of."""

    run: Run
    outcome: Outcome
    measure: Measure


def details_of(measure: Measure) -> str:
    """All of a measure but its name and unit, as JSON text that is exact for every number."""
    numbers = {"bound": measure.bound, "low": measure.low, "high": measure.high}
    told: dict[str, Any] = {"value": tagged(measure.value)}
    told |= {name: tagged(number) for name, number in numbers.items() if number is not None}
    if measure.sense != "<=":
        told["sense"] = measure.sense
    if measure.samples:
        told["samples"] = [tagged(sample) for sample in measure.samples]
    return json.dumps(told, allow_nan=False, separators=(",", ":"))


def measure_from(name: str, unit: str, details: str) -> Measure:
    """The measure that :func:`details_of` wrote."""
    told = json.loads(details)
    return Measure(
        name,
        untagged(told["value"]),
        unit,
        untagged(told.get("bound")),
        told.get("sense", "<="),
        untagged(told.get("low")),
        untagged(told.get("high")),
        tuple(untagged(sample) for sample in told.get("samples", ())),
    )
