"""How the tables came to be, version by version: forwards only, and never changed once released."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
)

from pytest_dlcheck.store.tables import VERSIONS

Migration = Callable[[Connection], None]


def _runs_and_measures(connection: Connection) -> None:
    """Version 1: what gates measured, on which commit and machine."""
    tables = MetaData()
    Table(
        "dlcheck_machines",
        tables,
        Column("id", Integer, primary_key=True),
        Column("key", Text, nullable=False, unique=True),
        Column("facts", Text, nullable=False),
    )
    Table(
        "dlcheck_runs",
        tables,
        Column("id", Integer, primary_key=True),
        Column("uid", Text, nullable=False, unique=True),
        Column("time", Float(53), nullable=False),
        Column("commit_name", Text, nullable=False),
        Column("branch", Text, nullable=False),
        Column("dirty", Boolean(create_constraint=False), nullable=False),
        Column("plugin_version", Text, nullable=False),
        Column("torch_version", Text, nullable=False),
        Index("dlcheck_runs_by_commit", "commit_name"),
        Index("dlcheck_runs_by_time", "time"),
    )
    Table(
        "dlcheck_series",
        tables,
        Column("id", Integer, primary_key=True),
        Column("recipe", Text, nullable=False),
        Column("machine_id", ForeignKey("dlcheck_machines.id"), nullable=False),
        Column("check_name", Text, nullable=False),
        Column("measure", Text, nullable=False),
        Column("unit", Text, nullable=False),
        UniqueConstraint(
            "recipe", "machine_id", "check_name", "measure", "unit", name="dlcheck_series_once"
        ),
    )
    Table(
        "dlcheck_measures",
        tables,
        Column("series_id", ForeignKey("dlcheck_series.id"), primary_key=True),
        Column("run_id", ForeignKey("dlcheck_runs.id"), primary_key=True),
        Column("time", Float(53), nullable=False),
        Column("value", Float(53)),
        Column("outcome", Text, nullable=False),
        Column("details", Text, nullable=False),
        Index("dlcheck_measures_by_time", "series_id", "time"),
        Index("dlcheck_measures_by_run", "run_id"),
    )
    tables.create_all(connection, checkfirst=False)


def _acceptance(connection: Connection) -> None:
    """Version 2: baselines that were moved, and why."""
    tables = MetaData()
    Table(
        "dlcheck_accepted",
        tables,
        Column("id", Integer, primary_key=True),
        Column("recipe", Text, nullable=False),
        Column("commit_name", Text, nullable=False),
        Column("run_uid", Text, nullable=False),
        Column("time", Float(53), nullable=False),
        Column("reason", Text, nullable=False),
        Index("dlcheck_accepted_by_recipe", "recipe"),
    )
    tables.create_all(connection, checkfirst=False)


def _traces(connection: Connection) -> None:
    """Version 3: what trainings recorded, to be repeated."""
    tables = MetaData()
    for other in ("dlcheck_machines", "dlcheck_runs"):
        Table(other, tables, Column("id", Integer, primary_key=True))
    traces = Table(
        "dlcheck_traces",
        tables,
        Column("id", Integer, primary_key=True),
        Column("recipe", Text, nullable=False),
        Column("machine_id", ForeignKey("dlcheck_machines.id"), nullable=False),
        Column("seed", Integer, nullable=False),
        Column("run_id", ForeignKey("dlcheck_runs.id"), nullable=False),
        Column("trace", LargeBinary, nullable=False),
        UniqueConstraint("recipe", "machine_id", "seed", "run_id", name="dlcheck_traces_once"),
    )
    traces.create(connection, checkfirst=False)


MIGRATIONS: tuple[Migration, ...] = (_runs_and_measures, _acceptance, _traces)
"""The version of a history is how many of them were carried out."""


def version_of(connection: Connection) -> int:
    """The version of the tables that are there; 0 where there are none."""
    if not inspect(connection).has_table(VERSIONS.name):
        return 0
    found = connection.execute(select(func.max(VERSIONS.c.version))).scalar()
    return int(found or 0)


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the tables up to the last version, inside the transaction that is open.

    Args:
        connection: to a history of a version that is known.
        migrations: all there are, in order.
    """
    known = version_of(connection)
    if known == 0:
        VERSIONS.create(connection, checkfirst=True)
    for version, carry_out in enumerate(migrations, 1):
        if version > known:
            carry_out(connection)
            connection.execute(insert(VERSIONS).values(version=version))
