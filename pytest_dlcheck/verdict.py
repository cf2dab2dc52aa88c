"""What was concluded, as values: the only source of every report. No judging, no rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pytest_dlcheck.trace import tagged, untagged


class Outcome(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"
    ERRORED = "errored"
    """The recipe itself could not be run, so that nothing was judged; ``cause`` is the error."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured number beside what it was held against.

    Attributes:
        name: the quantity, in the field's term.
        value: the number, in ``unit``.
        unit: its unit; ``"ratio"`` or ``"count"`` where it has none.
        bound: what it was held against, in ``unit``, or None where it only informs.
        sense: how value and bound must stand for the check to pass: ``"<="``, ``">="`` or ``"="``.
        low, high: the limits of its confidence interval, in ``unit``; None where there is none.
        samples: the independent measurements that the value sums up, in ``unit``: one per seed or per
            process; empty where the value is all there is.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    sense: str = "<="
    low: float | None = None
    high: float | None = None
    samples: tuple[float, ...] = ()

    def __str__(self) -> str:
        text = f"{self.name} {_short(self.value, self.unit)}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:.4g}, {self.high:.4g}]"
        if self.bound is None:
            return text
        return f"{text} (must be {self.sense} {_short(self.bound, self.unit)})"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A place that is under suspicion.

    Attributes:
        site: the dotted name of a parameter, buffer or module, or ``"loss"``, ``"data"``,
            ``"optimizer"``, ``"input 0"``, ``"output"``; ``""`` stands for the model as a whole.
        finding: what was found there, with its numbers.
        remedy: what to do there; empty where the verdict's own remedy says it.
    """

    site: str
    finding: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check concluded of one recipe.

    Attributes:
        check: the check's name.
        outcome: what became of it.
        because: one line with the measured number and its bound.
        measures: the numbers behind it.
        suspects: the places, most suspicious first.
        cause: the likely cause, in one line; empty where it is not known.
        remedy: what to do about it.
        advice: suspicions that are no failure, a line each.
        leads_to: the effects that this failure has elsewhere (see ``check.Effect``).
    """

    check: str
    outcome: Outcome
    because: str
    measures: tuple[Measure, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    cause: str = ""
    remedy: str = ""
    advice: tuple[str, ...] = ()
    leads_to: frozenset[str] = frozenset()

    @property
    def failed(self) -> bool:
        """Whether the property does not hold."""
        return self.outcome is Outcome.FAILED

    @property
    def sites(self) -> tuple[str, ...]:
        """The places under suspicion, most suspicious first."""
        return tuple(suspect.site for suspect in self.suspects)

    def to_json(self) -> dict[str, Any]:
        """The verdict as strict JSON; :meth:`from_json` reads it back."""
        return {
            "check": self.check,
            "outcome": str(self.outcome),
            "because": self.because,
            "measures": [
                {
                    "name": m.name,
                    "value": tagged(m.value),
                    "unit": m.unit,
                    "bound": tagged(m.bound),
                    "sense": m.sense,
                    "low": tagged(m.low),
                    "high": tagged(m.high),
                    "samples": [tagged(sample) for sample in m.samples],
                }
                for m in self.measures
            ],
            "suspects": [
                {"site": s.site, "finding": s.finding, "remedy": s.remedy} for s in self.suspects
            ],
            "cause": self.cause,
            "remedy": self.remedy,
            "advice": list(self.advice),
            "leads_to": sorted(map(str, self.leads_to)),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that :meth:`to_json` wrote."""
        return cls(
            check=data["check"],
            outcome=Outcome(data["outcome"]),
            because=data["because"],
            measures=tuple(map(_measure, data["measures"])),
            suspects=tuple(Suspect(**s) for s in data["suspects"]),
            cause=data["cause"],
            remedy=data["remedy"],
            advice=tuple(data["advice"]),
            leads_to=frozenset(data["leads_to"]),
        )


def _measure(data: Mapping[str, Any]) -> Measure:
    samples = tuple(untagged(sample) for sample in data.get("samples", ()))
    rest = {name: untagged(value) for name, value in data.items() if name != "samples"}
    return Measure(**rest, samples=samples)


def _short(value: float, unit: str) -> str:
    number = f"{value:.4g}"
    return number if unit in {"", "ratio", "count"} else f"{number} {unit}"
