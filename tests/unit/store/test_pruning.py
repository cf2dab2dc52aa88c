"""A history made smaller keeps what baselines need."""

from __future__ import annotations

from pytest_dlcheck.store.acceptance import accept
from pytest_dlcheck.store.baselines import WINDOW
from pytest_dlcheck.store.history import all_series, measures_of, points
from pytest_dlcheck.store.pruning import doomed, prune
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Outcome
from tests.store_kit import RECIPE, ask, entry, record, run, values


def _left(database):
    return {
        point.run.uid
        for number, series in all_series(database).items()
        for point in points(database, number, series)
    }


def test_the_newest_stay_and_what_goes_is_said_before(database):
    record(database, [""] * 8, [1.0] * 8, outcome=Outcome.FAILED)
    going = doomed(database, keep=3)
    assert (going.measures, going.kept, going.first, going.last) == (5, 3, 0.0, 4 * 86400.0)
    assert len(_left(database)) == 8
    assert prune(database, keep=3) == going
    assert _left(database) == {"run5", "run6", "run7"}
    assert doomed(database, keep=3).measures == 0


def test_a_baseline_is_the_same_before_and_after(database, repository):
    commits = [repository.commit() for _ in range(WINDOW)]
    record(database, commits, [float(i) for i in range(WINDOW)])
    for number in range(30):
        one = run(f"feature{number}", "f" * 40, 1e7 + number, branch="feature")
        append(database, one, [entry(1.0, Outcome.FAILED)])
    before = ask(database, repository)
    assert prune(database, keep=1).measures == 29
    assert ask(database, repository) == before
    assert len(values(before)) == WINDOW


def test_what_was_accepted_stays(database, repository):
    commit = repository.commit()
    accepted = run("accepted", commit)
    append(database, accepted, [entry(8.0, Outcome.FAILED)])
    accept(database, [RECIPE], accepted, reason="because", time=0.0)
    for number in range(5):
        append(database, run(f"later{number}", "c", 1.0 + number), [entry(9.0, Outcome.FAILED)])
    prune(database, keep=1)
    assert _left(database) == {"accepted", "later4"}
    assert values(ask(database, repository, "accepted")) == [8.0]


def test_runs_and_series_that_nothing_is_left_of_go_too(database):
    old, new = run("old"), run("new", "", 1.0)
    append(database, old, [entry(1.0, Outcome.FAILED)])
    append(database, new, [entry(1.0, Outcome.FAILED)])
    prune(database, keep=1)
    assert measures_of(database, [old]) == {}
    assert append(database, old, [entry(1.0)]) == 1
