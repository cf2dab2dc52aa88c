"""The commands that change a history: ``accept`` moves baselines, ``merge`` adds, ``prune`` removes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_dlcheck.cli.at_store import asked, store_option
from pytest_dlcheck.cli.columns import date, number
from pytest_dlcheck.cli.compare import called
from pytest_dlcheck.reports import journal
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.git import checkout
from pytest_dlcheck.store.records import Entry, Run
from pytest_dlcheck.store.telling import entries_of

if TYPE_CHECKING:
    from pytest_dlcheck.reports.contents import Contents
    from pytest_dlcheck.store.database import Database
    from pytest_dlcheck.store.records import Point, Series

_MB = 1e6


@click.command()
@click.argument("recipe", default="")
@click.option("--reason", required=True, help="why it is as it should be; shown in the history")
@click.option(
    "--commit", default="", metavar="REF", help="a commit or run (default: what is checked out)"
)
@store_option
def accept(recipe: str, reason: str, commit: str, store: str) -> None:
    """Move the baseline of RECIPE, or of all, to what was measured at a commit.

    From then on `--dlcheck-baseline accepted` holds gates against the runs of that commit, and
    `--dlcheck-baseline REF` against its runs and what came after it, whatever their gates had said.
    """
    from pytest_dlcheck.store.acceptance import accept as move
    from pytest_dlcheck.store.history import chosen, measures_of

    if not reason.strip():
        raise click.UsageError("--reason wants a text: it is all that is left to tell why")
    with asked(store) as database:
        runs = _clean(_meant(database, commit))
        measured = measures_of(database, runs)
        wanted = chosen(dict(enumerate(measured)), recipe).values()
        recipes = sorted({series.recipe for series in wanted})
        move(database, recipes, runs[-1], reason=reason.strip(), time=time.time())
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    click.echo(f"accepted {runs[-1].place} ({count}): {reason.strip()}")
    for series in wanted:
        click.echo(f"  {series.short} {series.measure} {_values(series, measured)}, on {series.machine}")


def _values(series: Series, measured: Mapping[Series, Sequence[Point]]) -> str:
    values = sorted(point.measure.value for point in measured[series])
    if len(values) == 1:
        return number(values[0], series.unit)
    return f"{number(values[0], '')} to {number(values[-1], series.unit)}"


def _meant(database: Database, commit: str) -> tuple[Run, ...]:
    """The runs of the commit that is named, or else checked out; without git, the newest run."""
    from pytest_dlcheck.store.history import newest_run, runs_called

    if commit:
        return called(database, commit)
    here = checkout(Path.cwd()).commit
    newest = newest_run(database)
    if newest is None:
        raise StoreError("the history is empty: no gate has measured anything yet")
    if not here:
        return (newest,)
    found = runs_called(database, here, here)
    if not found:
        raise StoreError(
            f"no run of what is checked out ({here[:10]}) was recorded; the newest is of "
            f"{newest.place}: run the gates, or name a commit with --commit"
        )
    return found


def _clean(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    kept = tuple(run for run in runs if not run.dirty)
    if not kept:
        raise StoreError(
            f"{runs[-1].place} was measured with uncommitted changes, which no one could measure again: "
            "commit them, and run the gates once more"
        )
    return kept


@click.command()
@click.argument("journals", nargs=-1, required=True, type=click.Path(path_type=Path))
@store_option
def merge(journals: tuple[Path, ...], store: str) -> None:
    """Add what the gates of other sessions measured, by their JOURNALs, such as those of a CI matrix.

    Merging the same journal again adds nothing.
    """
    from pytest_dlcheck.store.writing import append

    found = [(path, _runs_in(path)) for path in journals]
    with asked(store, make=True) as database:
        for path, runs in found:
            told = sum(map(len, runs.values()))
            added = sum(append(database, run, entries) for run, entries in runs.items())
            click.echo(f"{path}: {told} measure{'' if told == 1 else 's'}, {added} of them new")


def _runs_in(path: Path) -> dict[Run, list[Entry]]:
    try:
        contents = journal.read(path)
    except journal.JournalError as error:
        raise click.ClickException(str(error)) from None
    if contents.notice:
        click.echo(contents.notice, err=True)
    try:
        return _entries(contents)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise click.ClickException(
            f"{path}: what it says of its measures cannot be read: {error!r}"
        ) from None


def _entries(contents: Contents) -> dict[Run, list[Entry]]:
    runs: dict[Run, list[Entry]] = {}
    for finding in contents.findings:
        told = contents.measured.get((finding.recipe, finding.verdict.check))
        if told is not None:
            runs.setdefault(Run.from_json(told["run"]), []).extend(entries_of(finding, told))
    return runs


@click.command()
@click.option(
    "--keep", type=click.IntRange(1), default=200, show_default=True, help="newest runs that stay"
)
@click.option("--yes", is_flag=True, help="do not ask")
@store_option
def prune(keep: int, *, yes: bool, store: str) -> None:
    """Make the history smaller: of each recipe, measure and machine the newest runs stay.

    What baselines need stays too: on each branch the newest clean runs that did not fail, and all that
    was accepted.
    """
    from pytest_dlcheck.store import pruning

    with asked(store) as database:
        going = pruning.doomed(database, keep)
        if not (going.measures or going.traces):
            click.echo(f"nothing to take away: {going.kept} measures stay")
            return
        since = f", from {date(going.first)} to {date(going.last)}" if going.measures else ""
        click.echo(
            f"going: {going.measures} measures{since}; {going.traces} traces of trainings "
            f"({going.trace_bytes / _MB:.1f} MB); {going.kept} measures stay"
        )
        if not yes and not click.confirm("take them away?"):
            raise click.Abort
        pruning.prune(database, keep)
    click.echo("done")
