"""What is told of one check on one recipe: verdict, cause and what it cost, JSON both ways."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Trace, tagged, untagged
from pytest_dlcheck.verdict import Outcome, Verdict

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
            steps=max(len(losses), trace.ending.step or 0),  # of a process that died, losses are lost
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
        objection: why the policy fails what the verdict does not, or empty.
        explained: the verdict of ``because_of`` where nobody was told of it before this failure.
    """

    recipe: str
    verdict: Verdict
    because_of: str = ""
    trials: tuple[TrialSummary, ...] = ()
    waived: str = ""
    objection: str = ""
    explained: Verdict | None = None

    @property
    def fails(self) -> bool:
        """Whether it counts as a failure, all that the policy says considered."""
        bad = self.verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}
        return bool(self.objection) or (bad and not self.waived)

    @property
    def standing(self) -> Finding:
        """The finding as it stands for its cause, where nobody was told of that: with its way out."""
        cause = self.explained
        if cause is None or not self.verdict.failed:
            return self
        verdict = replace(
            self.verdict,
            because=f"because of {self.because_of}: {self.verdict.because}",
            cause=cause.cause or cause.because,
            remedy=cause.remedy,
            suspects=cause.suspects,
        )
        return replace(self, verdict=verdict, because_of="", explained=None)

    def to_json(self) -> dict[str, Any]:
        """The finding as strict JSON; :meth:`from_json` reads it back."""
        return {
            "recipe": self.recipe,
            "verdict": self.verdict.to_json(),
            "because_of": self.because_of,
            "waived": self.waived,
            "objection": self.objection,
            "explained": None if self.explained is None else self.explained.to_json(),
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
            objection=data.get("objection", ""),
            explained=Verdict.from_json(cause) if (cause := data.get("explained")) else None,
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


def ruled(finding: Finding, policy: Policy, strict: Collection[str] = ()) -> Finding:
    """The finding with what its policy makes of it: a failure waived, or something else objected to.

    Args:
        finding: what was concluded.
        policy: how the recipe is to be judged.
        strict: what else is to fail: ``inconclusive``, ``advice``.
    """
    verdict = finding.verdict
    reason = policy.expected.get(verdict.check, "")
    if reason and verdict.failed:
        return replace(finding, waived=reason)
    if reason and verdict.outcome in {Outcome.PASSED, Outcome.NOT_APPLICABLE}:
        found = f"{verdict.outcome}: {verdict.because}"
        objection = f"expected to fail ({reason}) but {found}; take it off expected="
    elif verdict.outcome is Outcome.INCONCLUSIVE and (
        "inconclusive" in strict or _wants_decision(policy, verdict.check)
    ):
        objection = f"inconclusive: {verdict.because}"
    elif verdict.outcome is Outcome.PASSED and verdict.advice and "advice" in strict:
        objection = "advice, which is to fail here: " + "\n".join(verdict.advice)
    else:
        return finding
    return replace(finding, objection=objection)


def _wants_decision(policy: Policy, check: str) -> bool:
    """A gate that was asked for must decide, unless the policy lets it be skipped."""
    return policy.on_inconclusive == "fail" or (policy.on_inconclusive is None and check in policy.gates)


def by_recipe(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings grouped by recipe, in the order of their first appearance."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.recipe, []).append(finding)
    return groups


def problems(group: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """The failures of one recipe that no other failure listed here explains, each with what it led to.

    A cause may be expected to fail, or not have had its turn: then its consequence stands for it.
    """
    bad = {finding.verdict.check: finding for finding in group if finding.fails}
    return [
        (cause.standing, [f for f in bad.values() if f.because_of == name])
        for name, cause in bad.items()
        if cause.because_of not in bad
    ]


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
