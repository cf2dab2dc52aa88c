"""What was measured over a repository's life: series, runs and their measures, read back as values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from pytest_dlcheck.store.database import Database
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.records import Point, Run, Series, measure_from
from pytest_dlcheck.store.tables import MACHINES, MEASURES, RUNS, SERIES
from pytest_dlcheck.verdict import Outcome

_RUN = (
    RUNS.c.uid,
    RUNS.c.time,
    RUNS.c.commit_name,
    RUNS.c.branch,
    RUNS.c.dirty,
    RUNS.c.plugin_version,
    RUNS.c.torch_version,
)


def all_series(database: Database) -> dict[int, Series]:
    """Every series by its number, in the order of recipe, measure and machine.

    Raises:
        StoreError: the history cannot be read.
    """
    query = (
        select(SERIES, MACHINES.c.facts)
        .join(MACHINES, MACHINES.c.id == SERIES.c.machine_id)
        .order_by(SERIES.c.recipe, SERIES.c.measure, SERIES.c.id)
    )
    with database.reading() as connection:
        rows: list[Any] = list(connection.execute(query))
    return {
        row.id: Series(row.recipe, row.check_name, row.measure, row.unit, Machine(json.loads(row.facts)))
        for row in rows
    }


def chosen(series: dict[int, Series], recipe: str = "", measure: str = "") -> dict[int, Series]:
    """The series of a recipe and measure.

    Args:
        series: all there are.
        recipe: a node id, the recipe's name alone, or without its parameters; empty for all.
        measure: its name; empty for all.

    Raises:
        StoreError: there is no such recipe or measure; says which there are.
    """
    found = {number: one for number, one in series.items() if not recipe or _is_called(one, recipe)}
    if recipe and not found:
        raise StoreError(_unknown("recipe", recipe, (one.short for one in series.values())))
    kept = {n: one for n, one in found.items() if measure in {"", one.measure, one.check}}
    if measure and not kept:
        raise StoreError(_unknown("measure", measure, (one.measure for one in found.values())))
    return kept


def _is_called(series: Series, name: str) -> bool:
    return name in {series.recipe, series.short, series.short.partition("[")[0]}


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = ", ".join(dict.fromkeys(known)) or "none"
    return f"the history holds no {what} {name!r} (it holds: {names})"


def points(database: Database, series: int, unit: Series, newest: int = 0) -> tuple[Point, ...]:
    """The measures of one series, oldest first.

    Args:
        database: the history.
        series: its number.
        unit: the series itself.
        newest: how many of the newest; 0 for all.

    Raises:
        StoreError: the history cannot be read.
    """
    query = (
        select(*_RUN, MEASURES.c.outcome, MEASURES.c.details)
        .join(RUNS, RUNS.c.id == MEASURES.c.run_id)
        .where(MEASURES.c.series_id == series)
        .order_by(MEASURES.c.time.desc(), MEASURES.c.run_id.desc())
    )
    with database.reading() as connection:
        rows: list[Any] = list(connection.execute(query.limit(newest) if newest else query))
    return tuple(
        Point(_run(row), Outcome(row.outcome), measure_from(unit.measure, unit.unit, row.details))
        for row in reversed(rows)
    )


def counts(database: Database) -> dict[int, int]:
    """How many measures each series holds, by its number.

    Raises:
        StoreError: the history cannot be read.
    """
    query = select(MEASURES.c.series_id, func.count()).group_by(MEASURES.c.series_id)
    with database.reading() as connection:
        return {int(series): int(count) for series, count in connection.execute(query)}


def runs_called(database: Database, name: str, commit: str) -> tuple[Run, ...]:
    """The runs that are meant, oldest first.

    Args:
        database: the history.
        name: a run's uid, a beginning of it, or a beginning of a commit's name.
        commit: the full name of the commit that git knows under that name; empty where it knows none.

    Raises:
        StoreError: the history cannot be read.
    """
    begins = f"{name.lower()}%" if name.isalnum() and len(name) >= _SHORTEST else None
    either = RUNS.c.commit_name == commit if commit else RUNS.c.uid == name
    if begins is not None and not commit:
        either = RUNS.c.uid.like(begins) | RUNS.c.commit_name.like(begins)
    query = select(*_RUN).where(either).order_by(RUNS.c.time, RUNS.c.id)
    with database.reading() as connection:
        return tuple(map(_run, connection.execute(query)))


def newest_run(database: Database) -> Run | None:
    """The run that was begun last; None where there is none.

    Raises:
        StoreError: the history cannot be read.
    """
    query = select(*_RUN).order_by(RUNS.c.time.desc(), RUNS.c.id.desc()).limit(1)
    with database.reading() as connection:
        row = connection.execute(query).first()
    return None if row is None else _run(row)


_SHORTEST = 4
"""Letters of a name's beginning, as git asks for."""


def measures_of(database: Database, runs: Iterable[Run]) -> dict[Series, list[Point]]:
    """What some runs measured, by series.

    Raises:
        StoreError: the history cannot be read.
    """
    series = all_series(database)
    query = (
        select(*_RUN, MEASURES.c.series_id, MEASURES.c.outcome, MEASURES.c.details)
        .join(RUNS, RUNS.c.id == MEASURES.c.run_id)
        .where(RUNS.c.uid.in_([run.uid for run in runs]))
        .order_by(MEASURES.c.series_id, MEASURES.c.time)
    )
    found: dict[int, list[Point]] = {}
    with database.reading() as connection:
        rows: list[Any] = list(connection.execute(query))
    for row in rows:
        one = series[row.series_id]
        measure = measure_from(one.measure, one.unit, row.details)
        found.setdefault(row.series_id, []).append(Point(_run(row), Outcome(row.outcome), measure))
    return {series[number]: listed for number, listed in found.items()}


def _run(row: Any) -> Run:
    return Run(
        uid=row.uid,
        time=row.time,
        commit=row.commit_name,
        branch=row.branch,
        dirty=row.dirty,
        plugin_version=row.plugin_version,
        torch_version=row.torch_version,
    )
