"""A diagnosis in plain words and lines, for terminals, JUnit and exceptions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from pytest_dlcheck.finding import Finding, by_recipe, problems
from pytest_dlcheck.reports.places import gathered
from pytest_dlcheck.verdict import Outcome, Suspect, Verdict

SUSPECTS_SHOWN = 8
"""Suspects that are listed; the rest is counted."""
_LABEL = 15
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def shown(text: str) -> str:
    """The text with its control characters made visible: a module's name may hold anything.

    Format characters, such as those that turn the direction of writing, and halves of surrogate pairs,
    which no file takes, count among them.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in _UNSEEN else repr(c)[1:-1] for c in text
    )


def one_line(text: str) -> str:
    """The same for a name, which stays in its line."""
    return shown(text).replace("\n", "\\n")


def finding_text(finding: Finding) -> str:
    """A finding that fails as its reader wants it: the policy's objection, or the verdict."""
    stands = finding.standing
    return shown(finding.objection) or verdict_text(stands.verdict, stands.because_of)


def verdict_text(verdict: Verdict, because_of: str = "") -> str:
    """A failed verdict as its reader wants it: what, where, why, what to do.

    Args:
        verdict: what was concluded.
        because_of: the check whose failure explains this one; then it is one line.
    """
    return shown(_verdict_text(verdict, because_of))


def cause_text(finding: Finding) -> str:
    """The cause of a finding that fails, in a line, also where it lies with another check."""
    verdict = finding.standing.verdict
    told = finding.objection or (verdict.failed and verdict.cause) or verdict.because
    return one_line(told.partition("\n")[0])


def _verdict_text(verdict: Verdict, because_of: str) -> str:
    first = verdict.because.partition("\n")[0]
    if because_of and verdict.outcome is Outcome.ERRORED:
        where = first.partition(": ")[0]  # the error itself is told there
        return f"the recipe itself does not run, as told at {because_of}: {where}"
    if because_of:
        return f"because of {because_of}: {first}"
    lines = [verdict.because]
    if verdict.outcome is Outcome.ERRORED:
        return "\n".join([*lines, *(line for s in verdict.suspects for line in _indented(s.finding))])
    lines += [*_suspects(verdict.suspects, verdict.remedy), *_way_out(verdict)]
    for line in verdict.advice:
        lines += _labelled("advice", line)
    numbers = [str(m) for m in verdict.measures if m.bound is not None]
    if numbers:
        lines += _labelled("measured", "; ".join(numbers))
    return "\n".join(lines)


def _way_out(verdict: Verdict) -> list[str]:
    """The cause of a failure, and what to do about it."""
    told = {"likely cause": verdict.cause, "remedy": verdict.remedy}
    return [line for label, text in told.items() if text for line in _labelled(label, text)]


def failures_text(findings: Iterable[Finding]) -> str:
    """What fails: causes in full, each followed by its consequences. Empty where nothing does.

    What fails of several recipes in the same words is told once.
    """
    told: dict[str, str] = {}
    return shown(
        "\n".join(
            line
            for recipe, group in by_recipe(findings).items()
            for cause, consequences in problems(group)
            for line in _problem(recipe, cause, consequences, told)
        )
    )


def led_to_text(cause: Finding, consequences: Sequence[Finding]) -> str:
    """What a failure led to, in a line; empty if nothing."""
    if not consequences:
        return ""
    if cause.verdict.outcome is Outcome.ERRORED:
        return f"so that {len(consequences) + 1} checks could not judge"
    return "and so also: " + ", ".join(finding.verdict.check for finding in consequences)


def findings_text(findings: Iterable[Finding]) -> str:
    """Every recipe in a few lines: failures in full, the rest in one line each."""
    lines: list[str] = []
    told: dict[str, str] = {}
    for recipe, group in by_recipe(findings).items():
        for cause, consequences in problems(group):
            lines += _problem(recipe, cause, consequences, told)
        for finding in (finding for finding in group if not finding.fails):
            verdict = finding.verdict
            expected = f" (expected: {finding.waived})" if finding.waived else ""
            head = f"{recipe}::{verdict.check} {verdict.outcome.upper()}{expected}"
            lines.append(f"{head}   {verdict.because}")
            lines += [f"  advice   {advice}" for advice in verdict.advice]
    return shown("\n".join(lines))


def _problem(
    recipe: str, cause: Finding, consequences: Sequence[Finding], told: dict[str, str]
) -> list[str]:
    """A cause and what it led to.

    Args:
        recipe: its name.
        cause: the failure.
        consequences: of it.
        told: where each text was told first; this one is added.
    """
    verdict = cause.verdict
    broken = verdict.outcome is Outcome.ERRORED
    outcome = Outcome.FAILED if cause.objection else verdict.outcome
    place = f"{recipe} (the recipe itself)" if broken else f"{recipe}::{verdict.check}"
    text = finding_text(cause)
    first = told.setdefault(text, place)
    text = text if first == place else f"as told at {first}"
    lines = [f"{place} {outcome.upper()}", *_indented(text)]
    if broken and consequences:
        return [*lines, f"  {led_to_text(cause, consequences)}"]
    return lines + [
        f"{recipe}::{f.verdict.check} {f.verdict.outcome.upper()}   because of {verdict.check}"
        for f in consequences
    ]


def _suspects(suspects: tuple[Suspect, ...], remedy: str) -> list[str]:
    places = gathered(suspects)
    shown = places[:SUSPECTS_SHOWN]
    width = max((len(s.site) for s in shown), default=0)
    lines = []
    for suspect in shown:
        lines.append(f"  {suspect.site or 'the model':<{width}}   {suspect.finding}")
        if suspect.remedy and suspect.remedy != remedy:
            lines.append(f"  {'':<{width}}   -> {suspect.remedy}")
    hidden = len(places) - len(shown)
    return [*lines, f"  and {hidden} more"] if hidden else lines


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [f"{label:<{_LABEL}}{first}", *(f"{'':<{_LABEL}}{line}" for line in rest)]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
