"""What JUnit's readers get of a verdict beside the failure text: properties, names and values."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.text import shown


def properties(finding: Finding) -> list[tuple[str, str]]:
    """The properties of a test case: outcome, the one line, each measure with its unit and bound."""
    verdict = finding.verdict
    found = [
        ("dlcheck.recipe", finding.recipe),
        ("dlcheck.check", verdict.check),
        ("dlcheck.outcome", str(verdict.outcome)),
        ("dlcheck.because", verdict.because),
    ]
    if finding.because_of:
        found.append(("dlcheck.because_of", finding.because_of))
    if verdict.cause and verdict.failed:
        found.append(("dlcheck.cause", verdict.cause))
    if verdict.sites:
        found.append(("dlcheck.sites", ", ".join(verdict.sites)))
    for measure in verdict.measures:
        key = f"dlcheck.measure.{measure.name.replace(' ', '_')}"
        found.append((key, f"{measure.value:.6g} {measure.unit}"))
        if measure.bound is not None:
            found.append((f"{key}.bound", f"{measure.sense} {measure.bound:.6g} {measure.unit}"))
    found += [("dlcheck.advice", advice) for advice in verdict.advice]
    found += [("dlcheck.trial", f"{t.name}: {t.seconds:.3f} s") for t in finding.trials]
    return [(shown(key), shown(value)) for key, value in found]


def watched_properties(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """The properties of a test that was watched: a line per verdict, all of those that fail."""
    found: list[tuple[str, str]] = []
    for finding in findings:
        verdict = finding.verdict
        told = f"{finding.recipe}: {verdict.outcome}: {verdict.because}"
        found.append((shown(f"dlcheck.verdict.{verdict.check}"), shown(told)))
        found += properties(finding) if finding.fails else []
    return found
