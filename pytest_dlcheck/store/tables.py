"""The tables as they are today, for queries. How they came to be is told in the migrations."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

TODAY = MetaData()

VERSIONS = Table(
    "dlcheck_versions",
    TODAY,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
"""One row per migration that was carried out."""

MACHINES = Table(
    "dlcheck_machines",
    TODAY,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("facts", Text, nullable=False),
)

RUNS = Table(
    "dlcheck_runs",
    TODAY,
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

SERIES = Table(
    "dlcheck_series",
    TODAY,
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

MEASURES = Table(
    "dlcheck_measures",
    TODAY,
    Column("series_id", ForeignKey("dlcheck_series.id"), primary_key=True),
    Column("run_id", ForeignKey("dlcheck_runs.id"), primary_key=True),
    Column("time", Float(53), nullable=False),
    Column("value", Float(53)),
    Column("outcome", Text, nullable=False),
    Column("details", Text, nullable=False),
    Index("dlcheck_measures_by_time", "series_id", "time"),
    Index("dlcheck_measures_by_run", "run_id"),
)
"""``value`` is there to be looked at with SQL, NULL for NaN; ``details`` is the measure itself."""

ACCEPTED = Table(
    "dlcheck_accepted",
    TODAY,
    Column("id", Integer, primary_key=True),
    Column("recipe", Text, nullable=False),
    Column("commit_name", Text, nullable=False),
    Column("run_uid", Text, nullable=False),
    Column("time", Float(53), nullable=False),
    Column("reason", Text, nullable=False),
    Index("dlcheck_accepted_by_recipe", "recipe"),
)

TRACES = Table(
    "dlcheck_traces",
    TODAY,
    Column("id", Integer, primary_key=True),
    Column("recipe", Text, nullable=False),
    Column("machine_id", ForeignKey("dlcheck_machines.id"), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("run_id", ForeignKey("dlcheck_runs.id"), nullable=False),
    Column("trace", LargeBinary, nullable=False),
    UniqueConstraint("recipe", "machine_id", "seed", "run_id", name="dlcheck_traces_once"),
)
