"""What ``diagnose`` found, for rich: causes in full with their consequences, the rest in brief."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pytest_dlcheck.finding import Finding, by_recipe, problems
from pytest_dlcheck.reports.openness import gathered_open
from pytest_dlcheck.reports.places import gathered
from pytest_dlcheck.reports.terminal import sparkline
from pytest_dlcheck.reports.text import SUSPECTS_SHOWN, led_to_text, shown
from pytest_dlcheck.verdict import Outcome, Verdict

_BAD = {Outcome.FAILED, Outcome.ERRORED}
_LABEL = 14


def page(findings: Iterable[Finding]) -> RenderableType:
    """The whole examination, to be printed by rich at whatever width there is."""
    parts: list[RenderableType] = []
    for recipe, group in by_recipe(findings).items():
        parts += [_head(recipe, group), *_problems(group), *_open(group), *_quiet(group)]
    return Group(*parts)


def _head(recipe: str, group: Sequence[Finding]) -> Text:
    causes = len(problems(group))
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
    for cause, led_to in problems(group):
        verdict = cause.verdict
        broken = verdict.outcome is Outcome.ERRORED
        name = "the recipe itself" if broken else verdict.check
        yield Text.assemble(("\n✗ ", "red"), (name, "bold red"), f"   {shown(verdict.because)}")
        yield Padding(_details(verdict), (0, 0, 0, 4))
        if led_to:
            yield Text(f"    ↳ {led_to_text(cause, led_to)}", style="dim")


def _details(verdict: Verdict) -> RenderableType:
    sites = Table.grid(padding=(0, 3))
    places = gathered(verdict.suspects)
    for suspect in places[:SUSPECTS_SHOWN]:
        site = Text(shown(suspect.site or "the model"), style="cyan", overflow="fold")
        sites.add_row(site, Text(shown(suspect.finding)))
        if suspect.remedy and suspect.remedy != verdict.remedy:
            sites.add_row("", Text(f"-> {shown(suspect.remedy)}"))
    hidden = len(places) - SUSPECTS_SHOWN
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
    for doubt in gathered_open(group):
        names = ", ".join(doubt.checks)
        told = f"   inconclusive: {shown(doubt.because)}"
        yield Text.assemble(("\n? ", "yellow"), (names, "yellow"), told)
    for finding in group:
        verdict = finding.verdict
        if verdict.outcome not in _BAD:
            for advice in verdict.advice:
                yield Text.assemble(
                    ("\n! ", "cyan"), (verdict.check, "cyan"), f"   advice: {shown(advice)}"
                )


def _quiet(group: Sequence[Finding]) -> Iterable[Text]:
    yield Text()
    for finding in group:
        if finding.waived:
            told = f"{finding.verdict.check} ({shown(finding.waived)})"
            yield Text.assemble(("✗ failed, as expected: ", "yellow"), told)
    for outcome, mark, style in (
        (Outcome.PASSED, "✓", "green"),
        (Outcome.NOT_APPLICABLE, "–", "dim"),
    ):
        names = [f.verdict.check for f in group if f.verdict.outcome is outcome]
        if names:
            yield Text.assemble((f"{mark} {outcome}: ", style), ", ".join(names))
