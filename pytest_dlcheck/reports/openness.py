"""Checks that could not be told, gathered by why: one reason is one line, not one per check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Open:
    """What could not be told of a recipe, for one reason.

    Attributes:
        recipe: its name.
        checks: the checks, in the order in which they were judged.
        because: the reason.
    """

    recipe: str
    checks: tuple[str, ...]
    because: str


def gathered_open(findings: Iterable[Finding]) -> list[Open]:
    """The inconclusive verdicts, but for those that a policy fails, which are listed as problems."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        verdict = finding.verdict
        if verdict.outcome is Outcome.INCONCLUSIVE and not finding.objection:
            reasons.setdefault((finding.recipe, verdict.because), []).append(verdict.check)
    return [Open(recipe, tuple(checks), because) for (recipe, because), checks in reasons.items()]
