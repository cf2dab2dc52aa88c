"""What ``diagnose`` found, for rich: causes in full with their consequences, the rest in brief."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pytest_dlcheck.finding import Finding, by_recipe
from pytest_dlcheck.reports.terminal import sparkline
from pytest_dlcheck.reports.text import SUSPECTS_SHOWN
from pytest_dlcheck.verdict import Outcome, Verdict

_BAD = {Outcome.FAILED, Outcome.ERRORED}
_LABEL = 14


def page(findings: Iterable[Finding]) -> RenderableType:
    """The whole examination, to be printed by rich at whatever width there is."""
    parts: list[RenderableType] = []
    for recipe, group in by_recipe(findings).items():
        parts += [_head(recipe, group), *_problems(group), *_open(group), *_quiet(group)]
    return Group(*parts)


def shown(text: str) -> str:
    """The text with its control characters made visible: a module's name may hold anything."""
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in {"Cc", "Cf"} else f"\\x{ord(c):02x}"
        for c in text
    )


def _head(recipe: str, group: Sequence[Finding]) -> Text:
    causes = sum(1 for f in group if f.verdict.outcome in _BAD and not f.because_of)
    told = f"{causes} problem{'s' if causes != 1 else ''}" if causes else "no problem found"
    line = Text(shown(recipe), style="bold")
    line.append(f"   {told}", style="bold red" if causes else "bold green")
    trials = [trial for finding in group for trial in finding.trials]
    losses = next((trial.losses for trial in trials if trial.kind == "train" and trial.losses), ())
    if losses:
        line.append(f"   train loss {sparkline(losses)} {losses[0]:.3g} → {losses[-1]:.3g}", style="dim")
    if trials:
        line.append(f"   {sum(trial.seconds for trial in trials):.1f} s", style="dim")
    return line


def _problems(group: Sequence[Finding]) -> Iterable[RenderableType]:
    for finding in group:
        verdict = finding.verdict
        if verdict.outcome not in _BAD or finding.because_of:
            continue
        yield Text.assemble(("\n✗ ", "red"), (verdict.check, "bold red"), f"   {shown(verdict.because)}")
        yield Padding(_details(verdict), (0, 0, 0, 4))
        led_to = [f.verdict.check for f in group if f.because_of == verdict.check]
        if led_to:
            yield Text(f"    ↳ and so also: {', '.join(led_to)}", style="dim")


def _details(verdict: Verdict) -> RenderableType:
    sites = Table.grid(padding=(0, 3))
    for suspect in verdict.suspects[:SUSPECTS_SHOWN]:
        site = Text(shown(suspect.site or "the model"), style="cyan", overflow="fold")
        sites.add_row(site, Text(shown(suspect.finding)))
        if suspect.remedy and suspect.remedy != verdict.remedy:
            sites.add_row("", Text(f"-> {shown(suspect.remedy)}"))
    hidden = len(verdict.suspects) - SUSPECTS_SHOWN
    if hidden > 0:
        sites.add_row(Text(f"and {hidden} more", style="dim"), "")
    told = Table.grid(padding=(0, 1))
    told.add_column(width=_LABEL, style="dim")
    measured = "; ".join(str(m) for m in verdict.measures if m.bound is not None)
    labelled = [("likely cause", verdict.cause), ("remedy", verdict.remedy), ("measured", measured)]
    if verdict.outcome is Outcome.ERRORED:
        labelled = []
    for label, text in (*labelled, *(("advice", line) for line in verdict.advice)):
        if text:
            told.add_row(label, Text(shown(text), style="bold" if label == "likely cause" else ""))
    return Group(*(part for part in (sites, told) if part.row_count))


def _open(group: Sequence[Finding]) -> Iterable[Text]:
    for finding in group:
        verdict = finding.verdict
        if verdict.outcome is Outcome.INCONCLUSIVE:
            yield Text.assemble(
                ("\n? ", "yellow"),
                (verdict.check, "yellow"),
                f"   inconclusive: {shown(verdict.because)}",
            )
        if verdict.outcome not in _BAD:
            for advice in verdict.advice:
                yield Text.assemble(
                    ("\n! ", "cyan"), (verdict.check, "cyan"), f"   advice: {shown(advice)}"
                )


def _quiet(group: Sequence[Finding]) -> Iterable[Text]:
    yield Text()
    for outcome, mark, style in (
        (Outcome.PASSED, "✓", "green"),
        (Outcome.NOT_APPLICABLE, "–", "dim"),
    ):
        names = [f.verdict.check for f in group if f.verdict.outcome is outcome]
        if names:
            yield Text.assemble((f"{mark} {outcome}: ", style), ", ".join(names))
