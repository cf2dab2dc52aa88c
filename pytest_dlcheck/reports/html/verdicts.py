"""Findings as the page tells them: states, verdicts and problems as plain data. It judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.html import embed
from pytest_dlcheck.reports.places import gathered
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

State = Literal["failed", "errored", "inconclusive", "expected", "advice", "passed", "na"]
WORST_FIRST: tuple[State, ...] = (
    "errored",
    "failed",
    "inconclusive",
    "expected",
    "advice",
    "passed",
    "na",
)
WORDS: dict[State, str] = {
    "errored": "errored",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "expected": "failed as expected",
    "advice": "passed, with advice",
    "passed": "passed",
    "na": "not applicable",
}


def state(finding: Finding) -> State:
    """What a finding counts as, all that its policy says considered."""
    outcome = finding.verdict.outcome
    if finding.fails:
        return "errored" if outcome is Outcome.ERRORED else "failed"
    if finding.waived:
        return "expected"
    if outcome is Outcome.INCONCLUSIVE:
        return "inconclusive"
    if outcome is Outcome.NOT_APPLICABLE:
        return "na"
    return "advice" if finding.verdict.advice else "passed"


def told(finding: Finding) -> dict[str, Any]:
    """All that is to be said of one check."""
    verdict = finding.standing.verdict
    always = {
        "check": embed.name(verdict.check),
        "state": state(finding),
        "because": embed.text(finding.objection or finding.verdict.because),
    }
    more = {
        "measures": [measure(m) for m in verdict.measures],
        "suspects": [_suspect(s, verdict) for s in gathered(verdict.suspects)],
        "cause": embed.text("" if verdict.outcome is Outcome.ERRORED else verdict.cause),
        "remedy": embed.text(verdict.remedy),
        "advice": [embed.text(line) for line in verdict.advice],
        "of": embed.name(finding.because_of),
        "waived": embed.text(finding.waived),
        "gate": is_gate(verdict),
    }
    return always | {key: value for key, value in more.items() if value}


def is_gate(verdict: Verdict) -> bool:
    """Whether a number with its uncertainty was held against a bound."""
    return any(m.bound is not None and (m.low is not None or m.samples) for m in verdict.measures)


def measure(held: Measure) -> dict[str, Any]:
    """A measured number beside its bound."""
    whole = {
        "name": embed.name(held.name),
        "value": embed.exact(held.value),
        "unit": embed.name(held.unit),
        "bound": embed.exact(held.bound),
        "sense": embed.name(held.sense),
        "low": embed.exact(held.low),
        "high": embed.exact(held.high),
        "samples": [embed.rough(sample) for sample in held.samples],
    }
    return {key: value for key, value in whole.items() if value is not None and value != []}


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first, otherwise in their order; consequences after their causes."""
    return sorted(findings, key=lambda f: (WORST_FIRST.index(state(f)), bool(f.because_of)))


def _suspect(suspect: Suspect, verdict: Verdict) -> list[str]:
    broken = verdict.outcome is Outcome.ERRORED
    remedy = "" if suspect.remedy == verdict.remedy else suspect.remedy
    site = suspect.site or ("" if broken else "the model")
    return [embed.name(site), embed.text(suspect.finding), embed.text(remedy)]
