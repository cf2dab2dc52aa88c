"""The diagnosis of a recipe in TensorBoard's Markdown: what fails in full, the rest in a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_dlcheck.finding import Finding, problems
from pytest_dlcheck.reports.text import failures_text, one_line

_MOST = 200_000
"""Characters of a text; TensorBoard's page has to hold it."""


def diagnosis_of(recipe: str, findings: Sequence[Finding]) -> str:
    """The text.

    Args:
        recipe: the recipe's name.
        findings: what was concluded of it.
    """
    count = len(problems(findings))
    told = f"{count} problem{'s' * (count != 1)}" if count else "no problem found"
    lines = [f"## {_plain(recipe)}: {told}", ""]
    lines += [f"    {line}" for line in failures_text(findings).splitlines()]
    lines += ["", "| check | verdict | because |", "|---|---|---|", *_rows(findings)]
    return "\n".join(lines)[:_MOST]


def _rows(findings: Iterable[Finding]) -> Iterable[str]:
    for finding in findings:
        verdict, cause = finding.verdict, finding.because_of
        because = f"because of {cause}" if cause else verdict.because.partition("\n")[0]
        cells = (verdict.check, str(verdict.outcome), because)
        yield f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"&#{ord(c)};" if c in "\\`*_{}[]<>|#&~" else c for c in one_line(text))
