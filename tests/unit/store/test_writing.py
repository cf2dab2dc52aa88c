"""Adding runs: whole or not at all, once however often, whatever their names."""

from __future__ import annotations

import pytest

from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.history import all_series, counts, points
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Outcome
from tests.store_kit import THERE, entry, run

NAMES = ["ein_Müller[größe]", "模型", "emoji 🧪", "quote ' \" ; DROP TABLE", "a\nb\tc", "%_\\"]


def test_adding_the_same_again_adds_nothing(database):
    entries = [entry(1.0), entry(2.0, recipe="other")]
    assert append(database, run("u"), entries) == 2
    assert append(database, run("u"), entries) == 0
    assert append(database, run("u"), [*entries, entry(3.0, recipe="third")]) == 1
    assert sum(counts(database).values()) == 3


def test_of_several_measures_of_one_series_the_last_counts(database):
    append(database, run("u"), [entry(1.0, Outcome.FAILED), entry(2.0)])
    ((number, series),) = all_series(database).items()
    (point,) = points(database, number, series)
    assert (point.measure.value, point.outcome) == (2.0, Outcome.PASSED)


def test_a_run_comes_back_with_all_that_is_known_of_it(database):
    one = run("u", "c" * 40, 1.25, branch="main", dirty=True, plugin_version="9", torch_version="8")
    append(database, one, [entry(1.0, low=0.5, high=1.5, samples=(0.9, 1.1))])
    ((number, series),) = all_series(database).items()
    (point,) = points(database, number, series)
    assert point.run == one
    assert (point.measure.low, point.measure.high, point.measure.samples) == (0.5, 1.5, (0.9, 1.1))


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_come_back(database, name):
    append(database, run("u"), [entry(1.0, recipe=name)])
    assert [series.recipe for series in all_series(database).values()] == [name]


@pytest.mark.parametrize(("name", "stored"), [("a\x00b", "a\\x00b"), ("a\udc80b", "a\\udc80b")])
def test_what_no_database_takes_is_written_out(database, name, stored):
    append(database, run("u"), [entry(1.0, recipe=name)])
    assert [series.recipe for series in all_series(database).values()] == [stored]


def test_each_machine_has_a_series_of_its_own(database):
    append(database, run("u"), [entry(1.0), entry(2.0, machine=THERE)])
    assert len(all_series(database)) == 2


def test_what_fails_midway_leaves_nothing(database):
    broken = entry(1.0)
    object.__setattr__(broken.measure, "value", "no number")
    with pytest.raises((StoreError, ValueError)):
        append(database, run("u"), [entry(1.0, recipe="a"), broken])
    assert all_series(database) == {}
