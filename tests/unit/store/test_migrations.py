"""Histories of every version are brought up to the newest one; what they hold is kept."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, inspect, text

from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.history import all_series, points
from pytest_dlcheck.store.migrations import MIGRATIONS, version_of
from pytest_dlcheck.store.tables import TODAY
from pytest_dlcheck.store.writing import append
from tests.store_kit import entry, run

INSERTED = """
INSERT INTO dlcheck_machines (id, key, facts) VALUES (1, 'k', '{"cpu": "a"}');
INSERT INTO dlcheck_runs
(id, uid, time, commit_name, branch, dirty, plugin_version, torch_version)
VALUES (1, 'u', 5.0, 'c', 'main', FALSE, '1', '2');
INSERT INTO dlcheck_series (id, recipe, machine_id, check_name, measure, unit)
VALUES (1, 'r', 1, 'throughput', 'throughput', 'samples/s');
INSERT INTO dlcheck_measures (series_id, run_id, time, value, outcome, details)
VALUES (1, 1, 5.0, 7.0, 'passed', '{"value": 7.0}')
"""


def _another(connection):
    Table("dlcheck_more", MetaData(), Column("id", Integer, primary_key=True)).create(connection)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_a_history_of_each_version_is_brought_up_to_date_with_what_it_holds(place, version):
    with opened(place, make=True, migrations=MIGRATIONS[:version]) as old, old.writing() as connection:
        for statement in INSERTED.split(";"):
            connection.execute(text(statement.replace(":", "\\:")))
    with opened(place) as database:
        with database.reading() as connection:
            assert version_of(connection) == len(MIGRATIONS)
        ((number, series),) = all_series(database).items()
        assert series.recipe == "r"
        assert [point.measure.value for point in points(database, number, series)] == [7.0]


def test_the_tables_after_all_migrations_are_those_that_are_asked(database):
    with database.reading() as connection:
        found = inspect(connection)
        for table in TODAY.tables.values():
            columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
            assert columns == {column.name: bool(column.nullable) for column in table.columns}
            indexes = {index["name"] for index in found.get_indexes(table.name)}
            assert {index.name for index in table.indexes} <= indexes


def test_a_newer_history_is_refused_and_left_as_it_is(place):
    with opened(place, make=True, migrations=(*MIGRATIONS, _another)):
        pass
    before = None if place.path is None else place.path.read_bytes()
    newer = len(MIGRATIONS) + 1
    said = f"version {newer}, .* knows up to {newer - 1}: use a newer one"
    with pytest.raises(StoreError, match=said), opened(place, make=True):
        pass
    assert before is None or place.path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_history_as_it_was(place):
    with opened(place, make=True) as database:
        append(database, run("u"), [entry(1.0)])

    def breaks(connection):
        _another(connection)
        raise StoreError("it broke")

    with pytest.raises(StoreError, match="it broke"), opened(place, migrations=(*MIGRATIONS, breaks)):
        pass
    with opened(place) as database, database.reading() as connection:
        assert not inspect(connection).has_table("dlcheck_more")
        assert version_of(connection) == len(MIGRATIONS)
        assert len(all_series(database)) == 1


def test_there_is_none_where_none_was_made(place):
    with pytest.raises(StoreError, match="there is no history at"), opened(place):
        pass
    assert place.path is None or not place.path.exists()
