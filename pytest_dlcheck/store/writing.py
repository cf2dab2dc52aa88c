"""Adds runs to a history: one transaction each, and what is there already stays as it is."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from pytest_dlcheck.store.database import Database
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.records import Entry, Run, Series, TraceEntry, details_of
from pytest_dlcheck.store.tables import MACHINES, MEASURES, RUNS, SERIES, TRACES
from pytest_dlcheck.store.traces import superseded


def append(
    database: Database, run: Run, entries: Sequence[Entry], traces: Sequence[TraceEntry] = ()
) -> int:
    """Add what a run measured; once it returns, it is there.

    Adding the same again adds nothing, so that a journal can be merged any number of times.

    Args:
        database: where to.
        run: the session.
        entries: its measures; of several for one series, the last counts.
        traces: what its trainings recorded; they take the place of older ones of the branch.

    Returns:
        How many of the measures were new.

    Raises:
        StoreError: nothing was added.
    """
    last = {_key(entry.series): entry for entry in entries}
    with database.writing() as connection:
        _add(connection, RUNS, [_run_row(run)])
        run_id = connection.execute(select(RUNS.c.id).where(RUNS.c.uid == run.uid)).scalar_one()
        machines = _machine_ids(
            connection, [*(e.series.machine for e in last.values()), *(t.machine for t in traces)]
        )
        # In one order in all sessions, so that no two wait for each other.
        rows = []
        for key in sorted(last):
            entry = last[key]
            series_id = _series_id(connection, entry.series, machines[entry.series.machine.key])
            rows.append(_measure_row(entry, series_id, run_id, run.time))
        before = _measured(connection, run_id)
        _add(connection, MEASURES, rows)
        added = _measured(connection, run_id) - before
        if traces:
            _add(connection, TRACES, [_trace_row(trace, machines, run_id) for trace in traces])
            old = superseded({_text(trace.recipe) for trace in traces})
            connection.execute(delete(TRACES).where(TRACES.c.id.in_(old)))
    return added


def _add(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, but those that are there."""
    if rows:
        kind = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(kind.insert(table).on_conflict_do_nothing(), list(rows))


def _measured(connection: Connection, run_id: int) -> int:
    query = select(func.count()).select_from(MEASURES).where(MEASURES.c.run_id == run_id)
    return int(connection.execute(query).scalar_one())


def _machine_ids(connection: Connection, machines: Iterable[Machine]) -> dict[str, int]:
    known = {machine.key: machine for machine in machines}
    _add(connection, MACHINES, [{"key": key, "facts": known[key].to_json()} for key in sorted(known)])
    found = connection.execute(select(MACHINES.c.key, MACHINES.c.id).where(MACHINES.c.key.in_(known)))
    return {row.key: row.id for row in found}


def _series_id(connection: Connection, series: Series, machine_id: int) -> int:
    row = {
        "recipe": _text(series.recipe),
        "machine_id": machine_id,
        "check_name": _text(series.check),
        "measure": _text(series.measure),
        "unit": _text(series.unit),
    }
    where = and_(*(SERIES.c[name] == value for name, value in row.items()))
    found = connection.execute(select(SERIES.c.id).where(where)).scalar()
    if found is None:
        _add(connection, SERIES, [row])
        found = connection.execute(select(SERIES.c.id).where(where)).scalar_one()
    return int(found)


def _measure_row(entry: Entry, series_id: int, run_id: int, time: float) -> dict[str, Any]:
    value = float(entry.measure.value)
    return {
        "series_id": series_id,
        "run_id": run_id,
        "time": time,
        "value": None if math.isnan(value) else value,
        "outcome": str(entry.outcome),
        "details": details_of(entry.measure),
    }


def _run_row(run: Run) -> dict[str, Any]:
    row = run.to_json()
    return {"commit_name": row.pop("commit"), **row}


def _trace_row(trace: TraceEntry, machines: dict[str, int], run_id: int) -> dict[str, Any]:
    data = json.dumps(trace.trace, allow_nan=False, separators=(",", ":"))
    return {
        "recipe": _text(trace.recipe),
        "machine_id": machines[trace.machine.key],
        "seed": trace.seed,
        "run_id": run_id,
        "trace": zlib.compress(data.encode("ascii")),
    }


def _key(series: Series) -> tuple[str, ...]:
    return (series.recipe, series.machine.key, series.check, series.measure, series.unit)


def _text(words: str) -> str:
    """Text as databases take it: halves of surrogate pairs and NUL are written out."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
