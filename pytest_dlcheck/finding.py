"""What is told of one check on one recipe: verdict, cause and what it cost, JSON both ways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from pytest_dlcheck.trace import Trace, tagged, untagged
from pytest_dlcheck.verdict import Verdict

CURVE_POINTS = 40
"""Losses kept of a curve: as many as a sparkline shows."""


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """A trial in a few numbers.

    Attributes:
        name: the trial in words.
        kind: its kind.
        seconds: wall time.
        steps: steps taken.
        losses: the loss over the steps, decimated.
        samples_per_second: throughput with probes on, a rough figure; None where it is not known.
    """

    name: str
    kind: str
    seconds: float
    steps: int
    losses: tuple[float, ...]
    samples_per_second: float | None

    @classmethod
    def of(cls, trace: Trace) -> TrialSummary:
        """Sum up a trace."""
        losses = trace.series("loss").values
        return cls(
            name=str(trace.trial),
            kind=trace.trial.kind,
            seconds=trace.seconds,
            steps=len(losses),
            losses=_decimated(losses),
            samples_per_second=_throughput(trace),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """One check on one recipe, concluded.

    Attributes:
        recipe: the recipe's name, with its parameters: ``digits_cnn[64]``.
        verdict: what was concluded.
        because_of: the name of the failed check that explains this failure, or empty.
        trials: the trials that this conclusion had to wait for, in the order they ran.
        waived: why the failure was expected, or empty.
    """

    recipe: str
    verdict: Verdict
    because_of: str = ""
    trials: tuple[TrialSummary, ...] = ()
    waived: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as strict JSON; :meth:`from_json` reads it back."""
        return {
            "recipe": self.recipe,
            "verdict": self.verdict.to_json(),
            "because_of": self.because_of,
            "waived": self.waived,
            "trials": [
                {
                    "name": t.name,
                    "kind": t.kind,
                    "seconds": tagged(t.seconds),
                    "steps": t.steps,
                    "losses": [tagged(loss) for loss in t.losses],
                    "samples_per_second": tagged(t.samples_per_second),
                }
                for t in self.trials
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """The finding that :meth:`to_json` wrote."""
        return cls(
            recipe=data["recipe"],
            verdict=Verdict.from_json(data["verdict"]),
            because_of=data["because_of"],
            waived=data["waived"],
            trials=tuple(
                TrialSummary(
                    name=t["name"],
                    kind=t["kind"],
                    seconds=untagged(t["seconds"]),
                    steps=t["steps"],
                    losses=tuple(untagged(loss) for loss in t["losses"]),
                    samples_per_second=untagged(t["samples_per_second"]),
                )
                for t in data["trials"]
            ),
        )


def by_recipe(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings grouped by recipe, in the order of their first appearance."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.recipe, []).append(finding)
    return groups


def _decimated(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) <= CURVE_POINTS:
        return values
    last = len(values) - 1
    return tuple(values[round(i * last / (CURVE_POINTS - 1))] for i in range(CURVE_POINTS))


def _throughput(trace: Trace) -> float | None:
    seconds = trace.series("seconds").values[1:]
    row = trace.row("recipe")
    samples = row.number("batch_size") * row.number("accumulate")
    if trace.trial.kind != "train" or not seconds or not math.isfinite(samples):
        return None
    return samples / median(seconds)
