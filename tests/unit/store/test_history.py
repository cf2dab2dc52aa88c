"""What was measured is found again: by recipe, measure, commit or run."""

from __future__ import annotations

import pytest

from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.history import (
    all_series,
    chosen,
    counts,
    measures_of,
    newest_run,
    points,
    runs_called,
)
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.records import Entry, Series
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Measure, Outcome
from tests.store_kit import HERE, RECIPE, entry, record, run


def _series(recipe, measure="throughput", check="throughput"):
    return Series(recipe, check, measure, "samples/s", Machine())


def test_the_points_of_a_series_come_oldest_first_and_can_be_cut(database):
    record(database, ["a", "b", "c"], [1.0, 2.0, 3.0])
    ((number, series),) = all_series(database).items()
    assert [p.measure.value for p in points(database, number, series)] == [1.0, 2.0, 3.0]
    assert [p.run.commit for p in points(database, number, series, newest=2)] == ["b", "c"]
    assert counts(database) == {number: 3}


def test_a_recipe_is_chosen_by_node_id_by_name_and_without_its_parameters():
    series = {i: _series(r) for i, r in enumerate(["t.py::cnn[64]", "t.py::cnn[128]", "t.py::rnn"])}
    assert list(chosen(series)) == [0, 1, 2]
    assert list(chosen(series, "cnn")) == [0, 1]
    assert list(chosen(series, "cnn[64]")) == [0]
    assert list(chosen(series, "t.py::rnn")) == [2]


def test_a_measure_is_chosen_by_its_name_or_its_gate():
    series = {0: _series("r"), 1: _series("r", "f1", "metrics"), 2: _series("r", "recall", "metrics")}
    assert list(chosen(series, "r", "f1")) == [1]
    assert list(chosen(series, "r", "metrics")) == [1, 2]


def test_what_is_not_there_is_answered_with_what_is():
    series = {0: _series("t.py::cnn")}
    with pytest.raises(StoreError, match=r"no recipe 'cmm' \(it holds: cnn\)"):
        chosen(series, "cmm")
    with pytest.raises(StoreError, match=r"no measure 'speed' \(it holds: throughput\)"):
        chosen(series, "cnn", "speed")


def test_runs_are_called_by_commit_by_uid_and_by_beginnings(database):
    for number, (uid, commit) in enumerate(
        [("aaaa1", "cafe01"), ("aaab2", "cafe01"), ("bbbb3", "beef02")]
    ):
        append(database, run(uid, commit, float(number)), [entry(1.0)])
    assert [r.uid for r in runs_called(database, "HEAD", "cafe01")] == ["aaaa1", "aaab2"]
    assert [r.uid for r in runs_called(database, "bbbb3", "")] == ["bbbb3"]
    assert [r.uid for r in runs_called(database, "cafe", "")] == ["aaaa1", "aaab2"]
    assert [r.uid for r in runs_called(database, "BEEF", "")] == ["bbbb3"]
    assert runs_called(database, "%", "") == ()
    assert runs_called(database, "be", "") == ()


def test_the_newest_run_is_that_begun_last(database):
    assert newest_run(database) is None
    append(database, run("new", "", 2.0), [entry(1.0)])
    append(database, run("old", "", 1.0), [entry(1.0)])
    assert newest_run(database).uid == "new"


def test_the_measures_of_some_runs_come_by_series(database):
    record(database, ["a", "b"], [1.0, 2.0])
    other = Series(RECIPE, "accuracy", "accuracy", "ratio", HERE)
    append(
        database,
        run("both", "b", 9e6),
        [entry(3.0), Entry(other, Outcome.PASSED, Measure("accuracy", 0.9, "ratio"))],
    )
    found = measures_of(database, runs_called(database, "b", "b"))
    assert {s.measure: [p.measure.value for p in ps] for s, ps in found.items()} == {
        "throughput": [2.0, 3.0],
        "accuracy": [0.9],
    }
