"""The command ``history``: what gates measured over a repository's life, as tables and as drawings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from pytest_dlcheck.cli.at_store import asked, store_option
from pytest_dlcheck.cli.columns import date, interval, number, outcome_mark, table, unit_of
from pytest_dlcheck.past import drawn

if TYPE_CHECKING:
    from pytest_dlcheck.store.acceptance import Acceptance
    from pytest_dlcheck.store.changes import Change
    from pytest_dlcheck.store.records import Point, Series

_DRAWN = 2
"""Measurements from which on there is something to draw."""


@click.command()
@click.argument("recipe", default="")
@click.argument("measure", default="")
@click.option(
    "--last", type=click.IntRange(1), default=20, show_default=True, help="runs that are listed"
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="also draw it into a file: .html or .svg",
)
@store_option
def history(recipe: str, measure: str, last: int, plot: Path | None, store: str) -> None:
    """Show what gates measured, run by run, and where a new level began.

    Without RECIPE: one line for each recipe and measure. RECIPE is a name as in the test ids; MEASURE a
    measure or a gate. Each kind of machine has a history of its own.
    """
    from pytest_dlcheck.store.acceptance import acceptances
    from pytest_dlcheck.store.history import all_series, chosen, points

    if plot is not None and plot.suffix not in {".html", ".svg"}:
        raise click.UsageError(f"--plot {plot}: the file's name ends in .html or .svg")
    with asked(store) as database:
        series = chosen(all_series(database), recipe, measure)
        past = [(one, points(database, number, one)) for number, one in series.items()]
        past.sort(key=lambda pair: (pair[0].recipe, pair[0].measure, -len(pair[1])))
        accepted = acceptances(database)
    if not past:
        raise click.ClickException("the history is empty: no gate has measured anything yet")
    if recipe:
        for one, found in past:
            _show(one, found, [a for a in accepted if a.recipe == one.recipe], last)
    else:
        _overview(past)
    if plot is not None:
        _draw(plot, past)


def _overview(past: Sequence[tuple[Series, Sequence[Point]]]) -> None:
    from pytest_dlcheck.store.changes import changes

    rows = []
    for series, points in past:
        newest = points[-1]
        found = changes([point.measure.value for point in points])
        told = _change(found[-1], points) if found else ""
        rows.append(
            [
                series.short,
                series.measure,
                str(len(points)),
                number(newest.measure.value, series.unit),
                outcome_mark(newest.outcome),
                f"{date(newest.run.time)} {newest.run.place}",
                told,
            ]
        )
    machines = list(dict.fromkeys(str(series.machine) for series, _ in past))
    if len(machines) > 1:
        letters = {machine: _letter(i) for i, machine in enumerate(machines)}
        for row, (series, _) in zip(rows, past, strict=True):
            row.insert(2, letters[str(series.machine)])
    head = ["recipe", "measure", "runs", "newest", "", "measured", "last change of level"]
    if len(machines) > 1:
        head.insert(2, "machine")
    table(head, rows)
    click.echo()
    for i, machine in enumerate(machines):
        click.echo(f"{'machine ' + _letter(i) if len(machines) > 1 else 'machine'}: {machine}")


def _show(series: Series, points: Sequence[Point], accepted: Sequence[Acceptance], last: int) -> None:
    from pytest_dlcheck.reports.chart import chart
    from pytest_dlcheck.store.changes import changes

    title = f"{series.short} · {series.measure}"
    click.echo(f"{click.style(title, bold=True)}   {unit_of(series.unit)}".rstrip())
    click.echo(f"{series.recipe}, on {series.machine}")
    found = changes([point.measure.value for point in points])
    if len(points) >= _DRAWN:
        width = min(100, get_terminal_size().columns)
        click.echo(chart(drawn(series, points, found), width=width, plain=not _is_rich()))
    for change in found:
        click.echo(f"a new level at {_change(change, points)}")
    reasons = {a.commit or a.run_uid: a.reason for a in accepted}
    marks = {change.index: change.size for change in found}
    rows = []
    for index, point in list(enumerate(points))[-last:]:
        run, measure = point.run, point.measure
        accepted_for = reasons.get(run.commit or run.uid, "")
        said = [marks.get(index, ""), f"accepted: {accepted_for}" if accepted_for else ""]
        rows.append(
            [
                date(run.time),
                run.place,
                run.branch,
                number(measure.value, ""),
                interval(measure.low, measure.high),
                str(len(measure.samples) or ""),
                outcome_mark(point.outcome),
                "  ".join(filter(None, said)),
            ]
        )
    table(["time (UTC)", "commit", "branch", "value", "interval", "samples", "", ""], rows)
    if len(points) > last:
        click.echo(f"(the newest {last} of {len(points)} runs; --last N for more)")
    click.echo()


def _draw(plot: Path, past: Sequence[tuple[Series, Sequence[Point]]]) -> None:
    from pytest_dlcheck.reports.errors import ReportError
    from pytest_dlcheck.store.changes import changes

    histories = [
        replace(
            drawn(series, points, changes([point.measure.value for point in points])),
            recipe=f"{series.short} ({series.machine})",
        )
        for series, points in past
    ]
    try:
        if plot.suffix == ".svg":
            from pytest_dlcheck.reports.chart_svg import write_svg

            write_svg(plot, histories)
        else:
            from pytest_dlcheck.reports.chart_html import write_html

            write_html(plot, histories)
    except ReportError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"wrote {plot}")


def _change(change: Change, points: Sequence[Point]) -> str:
    run = points[change.index].run
    return f"{run.place} ({date(run.time)[:10]}): {change.size}"


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index)  # noqa: PLR2004  letters there are


def _is_rich() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
