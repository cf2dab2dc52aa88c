"""Makes a history smaller, and keeps what baselines need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, or_, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from pytest_dlcheck.store.baselines import WINDOW
from pytest_dlcheck.store.database import Database
from pytest_dlcheck.store.tables import MACHINES, MEASURES, RUNS, SERIES, TRACES
from pytest_dlcheck.store.traces import is_accepted, superseded
from pytest_dlcheck.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Doomed:
    """What would go, or went.

    Attributes:
        measures: how many.
        traces: how many.
        trace_bytes: what these take, in bytes.
        first, last: when the oldest and newest of the measures were taken, in seconds since 1970; 0
            where none goes.
        kept: how many measures stay.
    """

    measures: int
    traces: int
    trace_bytes: int
    first: float
    last: float
    kept: int


def doomed(database: Database, keep: int) -> Doomed:
    """What pruning would take away.

    Args:
        database: the history.
        keep: how many of the newest runs stay of each series.

    Raises:
        StoreError: the history cannot be read.
    """
    with database.reading() as connection:
        return _doomed(connection, keep)


def prune(database: Database, keep: int) -> Doomed:
    """Take away all but what stays.

    What stays is, of each series, the newest runs; of each branch the newest clean ones that did not
    fail, as many as a baseline takes; and whatever was accepted.

    Args:
        database: the history.
        keep: how many of the newest runs stay of each series.

    Returns:
        What went.

    Raises:
        StoreError: nothing was taken away.
    """
    with database.writing() as connection:
        gone = _doomed(connection, keep)
        pairs = tuple_(MEASURES.c.series_id, MEASURES.c.run_id)
        going = _measures(keep)
        connection.execute(delete(MEASURES).where(pairs.in_(select(going.c.series_id, going.c.run_id))))
        connection.execute(delete(TRACES).where(TRACES.c.id.in_(superseded())))
        _sweep(connection)
    _shrink(database)
    return gone


def _doomed(connection: Connection, keep: int) -> Doomed:
    going = _measures(keep)
    count, first, last = connection.execute(
        select(func.count(), func.min(going.c.time), func.max(going.c.time)).select_from(going)
    ).one()
    traces, size = connection.execute(
        select(func.count(), func.sum(func.length(TRACES.c.trace))).where(TRACES.c.id.in_(superseded()))
    ).one()
    total = connection.execute(select(func.count()).select_from(MEASURES)).scalar_one()
    return Doomed(count, traces, int(size or 0), first or 0.0, last or 0.0, total - count)


def _measures(keep: int) -> Any:
    """The measures that no one needs."""
    fit = and_(~RUNS.c.dirty, MEASURES.c.outcome.not_in([str(Outcome.FAILED), str(Outcome.ERRORED)]))
    newest = MEASURES.c.time.desc()
    ranked = (
        select(
            MEASURES.c.series_id,
            MEASURES.c.run_id,
            MEASURES.c.time,
            fit.label("fit"),
            is_accepted(SERIES.c.recipe).label("accepted"),
            func.row_number().over(partition_by=MEASURES.c.series_id, order_by=newest).label("rank"),
            func.row_number()
            .over(partition_by=(MEASURES.c.series_id, RUNS.c.branch, fit), order_by=newest)
            .label("rank_on_branch"),
        )
        .join(RUNS, RUNS.c.id == MEASURES.c.run_id)
        .join(SERIES, SERIES.c.id == MEASURES.c.series_id)
        .subquery()
    )
    needed = or_(ranked.c.accepted, and_(ranked.c.fit, ranked.c.rank_on_branch <= WINDOW))
    return _where(ranked, and_(ranked.c.rank > keep, ~needed))


def _where(ranked: Any, condition: Any) -> Any:
    chosen: Select[Any] = select(ranked).where(condition)
    return chosen.subquery()


def _sweep(connection: Connection) -> None:
    """Take away what nothing refers to any more."""
    for table, users in (
        (SERIES, (MEASURES.c.series_id,)),
        (RUNS, (MEASURES.c.run_id, TRACES.c.run_id)),
        (MACHINES, (SERIES.c.machine_id, TRACES.c.machine_id)),
    ):
        unused = and_(*(table.c.id.not_in(select(column)) for column in users))
        connection.execute(delete(table).where(unused))


def _shrink(database: Database) -> None:
    """Give the room back to the disk; where others are busy, it is used again later."""
    if database.place.path is None:
        return
    with database.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.execute("VACUUM")
        except (SQLAlchemyError, driver.OperationalError):
            return
