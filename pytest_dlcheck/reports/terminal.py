"""The table at the end of a session: a line per recipe, causes with their consequences under it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from textwrap import indent
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_dlcheck.finding import Finding, TrialSummary, by_recipe, problems
from pytest_dlcheck.reports.openness import gathered_open
from pytest_dlcheck.reports.text import cause_text, led_to_text, one_line, shown
from pytest_dlcheck.verdict import Outcome

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 12
_FEWEST_SPARKS = 4
_PROCESS = re.compile(r"process \d+")
"""How a trial's name tells which of the processes it is that measure the same."""
_NUMBER = re.compile(r"\d+(\.\d+)?")
_NAME = 12
_GAP = 2
_HANG = 4
"""Columns by which lines are indented that belong to the one above."""
_NARROW = 72
"""Columns from which on the loss and the trials fit in."""
_ROOMY = 95
"""Columns from which on the throughput fits in."""
_WORDS = {
    Outcome.PASSED: "ok",
    Outcome.FAILED: "failed",
    Outcome.ERRORED: "errored",
    Outcome.INCONCLUSIVE: "open",
    Outcome.NOT_APPLICABLE: "n/a",
}
_COLOURS = {
    "ok": "green",
    "failed": "red",
    "errored": "red",
    "expected": "yellow",
    "open": "yellow",
    "n/a": "bright_black",
}


def table(findings: Iterable[Finding], *, width: int, colour: bool) -> str:
    """A line per recipe: verdict counts, the loss, throughput, seconds; under it, what each trial cost.

    Args:
        findings: what was concluded.
        width: columns of the terminal.
        colour: whether to use ANSI colours.
    """
    lines = Table(box=None, pad_edge=False, header_style="bold")
    groups = by_recipe(findings)
    rows = _rows(groups, width, _SPARKS)
    if (over := _needed(rows) - width) > 0:
        rows = _rows(groups, width, max(_FEWEST_SPARKS, _SPARKS - over))
    trials = [[trial for finding in group for trial in finding.trials] for group in groups.values()]
    costs = [_cost(some, width) if width >= _NARROW else "" for some in trials]
    titles = list(rows[0]) if rows else []
    taken = _needed(rows, but="recipe")
    for title in titles:
        # Only the recipe's name gives way.
        room = max(_NAME, width - taken) if title == "recipe" else None
        side: Literal["left", "right"] = "right" if title in {"samples/s", "seconds"} else "left"
        lines.add_column(title, justify=side, overflow="ellipsis", no_wrap=True, max_width=room)
    for row in rows:
        lines.add_row(*row.values())
    table_lines = _rendered(lines, width=width, colour=colour).splitlines()
    for index, cost in enumerate(costs, 1):
        if cost:
            table_lines[index] += "\n" + _rendered(_aside(cost), width=width, colour=colour)
    return "\n".join(table_lines)


def _rows(
    groups: Mapping[str, Sequence[Finding]], width: int, sparks: int
) -> list[dict[str, str | Text]]:
    rows: list[dict[str, str | Text]] = []
    for recipe, group in groups.items():
        trials = [trial for finding in group for trial in finding.trials]
        row: dict[str, str | Text] = {"recipe": one_line(recipe), "verdicts": _counts(group)}
        row |= {"train loss": _loss(trials, sparks)} if width >= _NARROW else {}
        row |= {"samples/s": _throughput(trials)} if width >= _ROOMY else {}
        rows.append({**row, "seconds": f"{sum(trial.seconds for trial in trials):.1f}"})
    return rows


def _needed(rows: Sequence[Mapping[str, str | Text]], but: str = "") -> int:
    """The columns that rows need; without one of their fields, those that it leaves free are not."""
    titles = [title for title in (rows[0] if rows else ()) if title != but]
    widths = [max(len(title), *(len(row[title]) for row in rows)) for title in titles]
    return sum(widths) + _GAP * (len(widths) - (not but))


def causes(findings: Iterable[Finding], *, width: int, colour: bool) -> str:
    """The problems there are: a line per cause, its consequences after it. Empty if all is well."""
    lines = Text()
    for recipe, group in by_recipe(findings).items():
        for cause, led_to in problems(group):
            verdict = cause.verdict
            broken = verdict.outcome is Outcome.ERRORED
            name = "(the recipe itself)" if broken else f"::{verdict.check}"
            place = f"{one_line(recipe)} {name}" if broken else f"{one_line(recipe)}{name}"
            lines.append(place, style="bold red")
            lines.append(f"  {cause_text(cause)}\n")
            if so := led_to_text(cause, led_to):
                lines.append(f"    {so}\n", style="bright_black")
    return _rendered(_hanging(lines, width), width=width, colour=colour) if lines else ""


def unsettled(findings: Iterable[Finding], *, width: int, colour: bool) -> str:
    """What could not be told, a line per reason, and what is advised, a line each."""
    lines = Text()
    findings = list(findings)
    for group in gathered_open(findings):
        alone = len(group.checks) == 1
        checks = f"::{group.checks[0]}" if alone else f" ({len(group.checks)} checks)"
        lines.append(f"{one_line(group.recipe)}{checks}", style="yellow")
        lines.append(f"  inconclusive: {shown(group.because)}\n")
        if not alone:
            lines.append(f"    {', '.join(group.checks)}\n", style="bright_black")
    for (recipe, advice), (first, *others) in _advised(findings).items():
        lines.append(f"{one_line(recipe)}::{first}", style="cyan")
        lines.append(f"  advice: {shown(advice)}\n")
        if others:
            lines.append(f"    and so too: {', '.join(others)}\n", style="bright_black")
    return _rendered(_hanging(lines, width), width=width, colour=colour) if lines else ""


def _advised(findings: Iterable[Finding]) -> dict[tuple[str, str], list[str]]:
    """Recipe and advice -> the checks that give it; what differs in its numbers alone, as the first."""
    told: dict[tuple[str, str], tuple[str, str]] = {}
    checks: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        for advice in () if finding.objection else finding.verdict.advice:  # such are among the causes
            words = finding.recipe, _NUMBER.sub("#", advice)
            key = told.setdefault(words, (finding.recipe, advice))
            checks.setdefault(key, []).append(finding.verdict.check)
    return checks


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


def _counts(group: Sequence[Finding]) -> Text:
    text = Text()
    words = Counter(map(_word, group))
    for word, colour in _COLOURS.items():
        if words[word]:
            text.append(" " if text else "")
            text.append(f"{words[word]} {word}", style=colour)
    return text


def _word(finding: Finding) -> str:
    if finding.waived:
        return "expected"
    return "failed" if finding.objection else _WORDS[finding.verdict.outcome]


def _loss(trials: Sequence[TrialSummary], sparks: int) -> str:
    losses = next(
        (trial.losses for trial in trials if trial.kind in {"train", "watch"} and trial.losses), ()
    )
    return f"{sparkline(losses, sparks)} {losses[0]:.3g} → {losses[-1]:.3g}" if losses else "-"


def _throughput(trials: Sequence[TrialSummary]) -> str:
    rate = next((t.samples_per_second for t in trials if t.samples_per_second), None)
    return f"{rate:,.0f}" if rate else "-"


def _cost(trials: Sequence[TrialSummary], width: int) -> str:
    """Each trial with its steps, seconds and samples per second, in lines of whole trials."""
    lines = [""]
    for trial in _folded(trials):
        rate = trial.samples_per_second
        told = f"{one_line(_with_steps(trial))} {trial.seconds:.1f} s"
        told += f" {rate:,.0f} samples/s" if rate else ""
        if lines[-1] and _GAP + len(f"{lines[-1]}, {told}") >= width:
            lines[-1] += ","
            lines.append("")
        lines[-1] += f", {told}" if lines[-1] else told
    return "\n".join(lines)


def _folded(trials: Sequence[TrialSummary]) -> list[TrialSummary]:
    """Trials that only repeat each other in further processes, as one with the seconds of all."""
    alike: dict[str, list[TrialSummary]] = {}
    for index, trial in enumerate(trials):
        repeats = _PROCESS.search(trial.name) is not None
        alike.setdefault(_PROCESS.sub("", trial.name) if repeats else str(index), []).append(trial)
    return [
        replace(
            some[0],
            name=_PROCESS.sub(f"{len(some)} processes", some[0].name),
            seconds=sum(trial.seconds for trial in some),
        )
        if len(some) > 1
        else some[0]
        for some in alike.values()
    ]


def _with_steps(trial: TrialSummary) -> str:
    """Its name, with the steps that it took where they are fewer than it was asked for."""
    asked = f"{trial.steps} of \\1 steps"
    return re.sub(rf"\b(?!{trial.steps} )(\d+) steps", asked, trial.name)


def _aside(text: str) -> Text:
    return Text(indent(text, " " * _GAP), style="bright_black")


def _hanging(text: Text, width: int) -> Text:
    """The same, with lines that are too long broken here: what goes on is indented under its place."""
    lines = []
    for line in text.split("\n"):
        room = width - _HANG
        parts = [line] if line.cell_len <= width or room < _NAME else line.wrap(Console(), room)
        lines += [part if part is parts[0] else Text(" " * _HANG).append_text(part) for part in parts]
    return Text("\n").join(lines)


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
