"""A diagnosis in plain words and lines, for terminals, JUnit and exceptions."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.diagnosis import Diagnosis
from pytest_dlcheck.finding import Finding, by_recipe
from pytest_dlcheck.verdict import Outcome, Suspect, Verdict

SUSPECTS_SHOWN = 8
"""Suspects that are listed; the rest is counted."""
_LABEL = 15


def verdict_text(verdict: Verdict, because_of: str = "") -> str:
    """A failed verdict as its reader wants it: what, where, why, what to do.

    Args:
        verdict: what was concluded.
        because_of: the check whose failure explains this one; then it is one line.
    """
    if because_of:
        return f"because of {because_of}: {verdict.because.splitlines()[0]}"
    lines = [verdict.because]
    if verdict.outcome is Outcome.ERRORED:
        return "\n".join([*lines, *(line for s in verdict.suspects for line in _indented(s.finding))])
    lines += _suspects(verdict.suspects, verdict.remedy)
    if verdict.cause:
        lines += _labelled("likely cause", verdict.cause)
    if verdict.remedy:
        lines += _labelled("remedy", verdict.remedy)
    for line in verdict.advice:
        lines += _labelled("advice", line)
    numbers = [str(m) for m in verdict.measures if m.bound is not None]
    if numbers:
        lines += _labelled("measured", "; ".join(numbers))
    return "\n".join(lines)


def diagnosis_text(recipe: str, diagnosis: Diagnosis) -> str:
    """All failures of a recipe: causes, each followed by its consequences."""
    blocks = []
    for cause in diagnosis.causes:
        head = f"{recipe}::{cause.check} {cause.outcome.upper()}"
        body = "\n".join(f"  {line}" for line in verdict_text(cause).splitlines())
        tail = [
            f"{recipe}::{v.check} {v.outcome.upper()}   because of {cause.check}"
            for v in diagnosis.consequences(cause.check)
        ]
        blocks.append("\n".join([head, body, *tail]))
    return "\n".join(blocks)


def findings_text(findings: Iterable[Finding]) -> str:
    """Every recipe in a few lines: failures in full, the rest in one line each."""
    lines: list[str] = []
    for recipe, group in by_recipe(findings).items():
        for finding in group:
            verdict = finding.verdict
            head = f"{recipe}::{verdict.check} {verdict.outcome.upper()}"
            if verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}:
                text = verdict_text(verdict, finding.because_of)
                lines += [head, *(f"  {line}" for line in text.splitlines())]
            else:
                lines.append(f"{head}   {verdict.because}")
                lines += [f"  advice   {advice}" for advice in verdict.advice]
    return "\n".join(lines)


def _suspects(suspects: tuple[Suspect, ...], remedy: str) -> list[str]:
    shown = suspects[:SUSPECTS_SHOWN]
    width = max((len(s.site) for s in shown), default=0)
    lines = []
    for suspect in shown:
        lines.append(f"  {suspect.site or 'the model':<{width}}   {suspect.finding}")
        if suspect.remedy and suspect.remedy != remedy:
            lines.append(f"  {'':<{width}}   -> {suspect.remedy}")
    hidden = len(suspects) - len(shown)
    return [*lines, f"  and {hidden} more"] if hidden else lines


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [f"{label:<{_LABEL}}{first}", *(f"{'':<{_LABEL}}{line}" for line in rest)]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
