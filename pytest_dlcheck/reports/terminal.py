"""The table at the end of a session: a line per recipe, causes with their consequences under it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_dlcheck.finding import Finding, TrialSummary, by_recipe
from pytest_dlcheck.verdict import Outcome

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 12
_NAME = 12
_GAP = 2
_NARROW = 72
"""Columns from which on the loss fits in."""
_ROOMY = 95
"""Columns from which on the throughput fits in."""
_WIDE = 120
"""Columns from which on the seconds of each trial fit in."""
_WORDS = {
    Outcome.PASSED: "ok",
    Outcome.FAILED: "failed",
    Outcome.ERRORED: "errored",
    Outcome.INCONCLUSIVE: "open",
    Outcome.NOT_APPLICABLE: "n/a",
}
_COLOURS = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.ERRORED: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_APPLICABLE: "bright_black",
}


def table(findings: Iterable[Finding], *, width: int, colour: bool) -> str:
    """A line per recipe: verdict counts, the loss, throughput, the seconds of each trial.

    Args:
        findings: what was concluded.
        width: columns of the terminal.
        colour: whether to use ANSI colours.
    """
    lines = Table(box=None, pad_edge=False, header_style="bold")
    rows: list[dict[str, str | Text]] = []
    for recipe, group in by_recipe(findings).items():
        trials = [trial for finding in group for trial in finding.trials]
        row: dict[str, str | Text] = {"recipe": recipe, "verdicts": _counts(group)}
        row |= {"train loss": _loss(trials)} if width >= _NARROW else {}
        row |= {"samples/s": _throughput(trials)} if width >= _ROOMY else {}
        rows.append({**row, "seconds": _seconds(trials, wide=width >= _WIDE)})
    titles = list(rows[0]) if rows else []
    taken = sum(_GAP + max(len(title), *(len(row[title]) for row in rows)) for title in titles[1:])
    for title in titles:
        # Only the recipe's name gives way.
        room = max(_NAME, width - taken) if title == "recipe" else None
        side: Literal["left", "right"] = "right" if title in {"samples/s", "seconds"} else "left"
        lines.add_column(title, justify=side, overflow="ellipsis", no_wrap=True, max_width=room)
    for row in rows:
        lines.add_row(*row.values())
    return _rendered(lines, width=width, colour=colour)


def causes(findings: Iterable[Finding], *, width: int, colour: bool) -> str:
    """The problems there are: a line per cause, its consequences after it. Empty if all is well."""
    lines = Text()
    for recipe, group in by_recipe(findings).items():
        # A cause may be expected to fail, or not have had its turn: then its consequence speaks.
        listed = {finding.verdict.check for finding in group if _is_bad(finding)}
        for finding in group:
            verdict = finding.verdict
            if not _is_bad(finding) or finding.because_of in listed:
                continue
            led_to = [f.verdict.check for f in group if f.because_of == verdict.check]
            broken = verdict.outcome is Outcome.ERRORED
            place = f"{recipe} (the recipe itself)" if broken else f"{recipe}::{verdict.check}"
            lines.append(place, style="bold red")
            told = verdict.cause if verdict.failed and verdict.cause else verdict.because
            lines.append(f"  {told.splitlines()[0]}\n")
            if led_to and broken:
                lines.append(
                    f"    so that {len(led_to) + 1} checks could not judge\n", style="bright_black"
                )
            elif led_to:
                lines.append(f"    and so also: {', '.join(led_to)}\n", style="bright_black")
    return _rendered(lines, width=width, colour=colour) if lines else ""


def unsettled(findings: Iterable[Finding], *, width: int, colour: bool) -> str:
    """What could not be told, and what is advised: a line each."""
    lines = Text()
    for finding in findings:
        verdict = finding.verdict
        place = f"{finding.recipe}::{verdict.check}"
        if verdict.outcome is Outcome.INCONCLUSIVE:
            lines.append(place, style="yellow")
            lines.append(f"  inconclusive: {verdict.because}\n")
        for advice in verdict.advice:
            lines.append(place, style="cyan")
            lines.append(f"  advice: {advice}\n")
    return _rendered(lines, width=width, colour=colour) if lines else ""


def sparkline(values: Sequence[float], width: int = _SPARKS) -> str:
    """The course of some numbers in block characters; ``x`` marks what is not finite."""
    if not values:
        return ""
    last = len(values) - 1
    points = [values[round(i * last / (width - 1))] for i in range(width)] if last >= width else values
    finite = [value for value in points if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = (high - low) or 1.0

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return "x"
        return _BARS[round((value - low) / span * (len(_BARS) - 1))]

    return "".join(map(bar, points))


def _is_bad(finding: Finding) -> bool:
    return finding.verdict.outcome in {Outcome.FAILED, Outcome.ERRORED} and not finding.waived


def _counts(group: Sequence[Finding]) -> Text:
    text = Text()
    for outcome in Outcome:
        count = sum(1 for finding in group if finding.verdict.outcome is outcome)
        if count:
            text.append(" " if text else "")
            text.append(f"{count} {_WORDS[outcome]}", style=_COLOURS[outcome])
    return text


def _loss(trials: Sequence[TrialSummary]) -> str:
    losses = next((trial.losses for trial in trials if trial.kind == "train" and trial.losses), ())
    return f"{sparkline(losses)} {losses[0]:.3g} → {losses[-1]:.3g}" if losses else "-"


def _throughput(trials: Sequence[TrialSummary]) -> str:
    rate = next((t.samples_per_second for t in trials if t.samples_per_second), None)
    return f"{rate:,.0f}" if rate else "-"


def _seconds(trials: Sequence[TrialSummary], *, wide: bool) -> str:
    total = f"{sum(trial.seconds for trial in trials):.1f}"
    parts = " + ".join(f"{trial.kind} {trial.seconds:.1f}" for trial in trials)
    return f"{total} = {parts}" if parts and wide else total


def _rendered(what: Table | Text, *, width: int, colour: bool) -> str:
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        color_system="standard" if colour else None,
        emoji=False,
        markup=False,
    )
    console.print(what, end="")
    return out.getvalue().rstrip("\n")
