"""The command ``compare``: what two commits, or two runs, measured, side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_dlcheck.cli.at_store import asked, store_option
from pytest_dlcheck.cli.columns import number, table
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.git import resolved

if TYPE_CHECKING:
    from pytest_dlcheck.store.comparison import Compared
    from pytest_dlcheck.store.database import Database
    from pytest_dlcheck.store.records import Run


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@store_option
def compare(before: str, after: str, store: str) -> None:
    """Say how what B measured differs from what A measured.

    A and B are commits, branches or tags, or the uid of a run; of a commit, all its runs count. Speeds,
    times and sizes are compared as ratios, the rest as differences, with their 95 % intervals.
    """
    from pytest_dlcheck.store.comparison import compared
    from pytest_dlcheck.store.history import measures_of

    with asked(store) as database:
        sides = [called(database, name) for name in (before, after)]
        pairs, left_out = compared(*(measures_of(database, runs) for runs in sides))
    for letter, runs in zip("AB", sides, strict=True):
        dirty = " (with uncommitted changes)" if any(run.dirty for run in runs) else ""
        count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        click.echo(f"{letter}: {runs[-1].place} {runs[-1].branch}, {count}{dirty}")
    click.echo()
    if pairs:
        head = ["recipe", "measure", "A", "B", "change", "95 % interval", "", "from"]
        table(head, [_row(pair) for pair in pairs])
    for line in left_out:
        click.echo(line)


def called(database: Database, name: str) -> tuple[Run, ...]:
    """The runs that a commit, a reference or a uid stands for.

    Raises:
        StoreError: there are none.
    """
    from pytest_dlcheck.store.history import runs_called

    found = runs_called(database, name, resolved(Path.cwd(), name)) or runs_called(database, name, "")
    if not found:
        raise StoreError(f"no run of {name!r} was recorded: name a commit that dlcheck history lists")
    if len({run.commit or run.uid for run in found}) > 1:
        raise StoreError(f"{name!r} is the beginning of several names: give more of it")
    return found


def _row(pair: Compared) -> list[str]:
    unit = pair.series.unit
    change = _change(pair, pair.estimate)
    interval, word = "", ""
    if not (math.isnan(pair.low) or math.isnan(pair.high)):
        interval = f"[{_change(pair, pair.low)}, {_change(pair, pair.high)}]"
        none = 1.0 if pair.is_ratio else 0.0
        word = "no difference shown" if pair.low <= none <= pair.high else "differs"
    means = [number(value, unit) for value in (pair.before, pair.after)]
    return [pair.series.short, pair.series.measure, *means, change, interval, word, pair.basis]


def _change(pair: Compared, value: float) -> str:
    if pair.is_ratio:
        return f"{value - 1:+.2%}".replace("%", " %")
    if pair.series.unit == "ratio":
        return f"{value * 100:+.3g} points"
    return f"{value:+.4g}"
