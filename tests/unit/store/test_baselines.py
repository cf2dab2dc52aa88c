"""What a gate is held against: clean runs of the line that is asked for, on this kind of machine."""

from __future__ import annotations

import math
import subprocess

import pytest

from pytest_dlcheck.store import baselines, git
from pytest_dlcheck.store.acceptance import accept
from pytest_dlcheck.store.baselines import WINDOW
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Outcome
from tests.store_kit import (
    DAY,
    HERE,
    RECIPE,
    THERE,
    Repository,
    ask,
    entry,
    record,
    run,
    trace_entry,
    values,
)


def test_the_runs_of_a_branch_come_oldest_first_with_commit_time_and_samples(database, repository):
    commits = [repository.commit() for _ in range(3)]
    record(database, commits, [10.0, 11.0, 12.0], samples=(1.0, 2.0))
    found = ask(database, repository)
    assert [(p.commit, p.time, p.value) for p in found.of("throughput")] == [
        (commit, i * DAY, 10.0 + i) for i, commit in enumerate(commits)
    ]
    assert found.of("throughput")[0].samples == (1.0, 2.0)
    assert (found.name, found.notice) == ("main", "")
    assert found.of("accuracy") == ()


def test_the_newest_runs_are_taken_up_to_a_window(database, repository):
    commits = [repository.commit() for _ in range(WINDOW + 5)]
    record(database, commits, [float(i) for i in range(WINDOW + 5)])
    assert values(ask(database, repository)) == [float(i) for i in range(5, WINDOW + 5)]


def test_runs_of_other_branches_do_not_count_until_they_are_merged(database, repository):
    first = repository.commit()
    repository.git("switch", "-q", "-c", "feature")
    second = repository.commit()
    record(database, [first, second], [10.0, 20.0])
    assert values(ask(database, repository)) == [10.0]
    repository.git("switch", "-q", "main")
    repository.git("merge", "-q", "--ff-only", "feature")
    assert values(ask(database, repository)) == [10.0, 20.0]


def test_an_unmerged_branch_that_was_measured_often_hides_nothing(database, repository, monkeypatch):
    monkeypatch.setattr(baselines, "_PAGES", (5, 10, 100))
    first = repository.commit()
    append(database, run("first", first), [entry(10.0)])
    for number in range(25):
        append(database, run(f"feature{number}", "f" * 40, 1.0 + number), [entry(1.0)])
    assert values(ask(database, repository)) == [10.0]


def test_runs_with_uncommitted_changes_do_not_count(database, repository):
    commit = repository.commit()
    append(database, run("clean", commit), [entry(10.0)])
    append(database, run("dirty", commit, 1.0, dirty=True), [entry(20.0)])
    assert values(ask(database, repository)) == [10.0]


def test_a_regression_that_failed_never_becomes_the_baseline(database, repository):
    good, bad = repository.commit(), repository.commit()
    append(database, run("good", good), [entry(10.0)])
    for number in range(30):
        append(database, run(f"bad{number}", bad, 1.0 + number), [entry(5.0, Outcome.FAILED)])
    assert values(ask(database, repository)) == [10.0]


def test_an_inconclusive_run_counts_so_that_a_history_can_begin(database, repository):
    append(database, run("a", repository.commit()), [entry(10.0, Outcome.INCONCLUSIVE)])
    assert values(ask(database, repository)) == [10.0]


def test_acceptance_moves_the_baseline_and_takes_what_failed(database, repository):
    commits = [repository.commit() for _ in range(3)]
    append(database, run("a", commits[0], 0.0), [entry(10.0)])
    slower = run("b", commits[1], 1.0)
    append(database, slower, [entry(8.0, Outcome.FAILED)])
    append(database, run("c", commits[2], 2.0), [entry(8.1)])
    assert values(ask(database, repository)) == [10.0, 8.1]
    accept(database, [RECIPE], slower, reason="it is right now", time=3.0)
    assert values(ask(database, repository)) == [8.0, 8.1]
    assert values(ask(database, repository, "accepted")) == [8.0]


def test_the_last_acceptance_counts_and_only_for_its_recipe(database, repository):
    commits = [repository.commit() for _ in range(2)]
    runs = [run(f"r{i}", commit, float(i)) for i, commit in enumerate(commits)]
    for number, one in enumerate(runs):
        append(database, one, [entry(10.0 + number), entry(20.0 + number, recipe="other")])
        accept(database, [RECIPE], one, reason="because", time=10.0 + number)
    assert values(ask(database, repository, "accepted")) == [11.0]
    assert values(ask(database, repository, recipe="other")) == [20.0, 21.0]


def test_nothing_accepted_yet_is_said_with_the_command(database, repository):
    record(database, [repository.commit()], [10.0])
    assert "dlcheck accept RECIPE --reason TEXT" in ask(database, repository, "accepted").notice


def test_without_git_an_accepted_run_is_a_baseline_by_itself(database, tmp_path):
    one = run("one", "")
    append(database, one, [entry(10.0)])
    append(database, run("two", "", 1.0), [entry(11.0)])
    accept(database, [RECIPE], one, reason="because", time=2.0)
    bare = Repository(tmp_path / "bare")
    assert values(ask(database, bare, "accepted")) == [10.0]


def test_other_machines_give_no_verdict_and_the_difference_is_said(database, repository):
    commits = [repository.commit() for _ in range(2)]
    record(database, commits, [10.0, 11.0], machine=THERE)
    found = ask(database, repository)
    assert values(found) == []
    assert found.notice == (
        "it was measured on machines of other kinds only: cpu another, not a processor here"
    )


def test_the_nearest_of_other_machines_is_the_one_told_of(database, repository):
    commit = repository.commit()
    near = Machine({**HERE.facts, "threads": 8})
    append(database, run("a", commit), [entry(1.0, machine=THERE), entry(2.0, machine=near)])
    assert "threads 8, not 2 here" in ask(database, repository).notice


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("main", "recorded yet"),
        ("v1.0", "git knows no 'v1.0' here, nor origin/v1.0"),
        ("-x", "git knows"),
    ],
)
def test_what_is_missing_is_said(database, repository, name, said):
    repository.commit()
    assert said in ask(database, repository, name).notice


def test_without_git_it_is_said(file_database, tmp_path):
    line = git.line(tmp_path / "nowhere", "main")
    found = ask(file_database, Repository(tmp_path / "other"), line=line)
    assert "commits cannot be told apart" in found.notice


def test_a_shallow_clone_is_told_from_a_branch_never_measured(database, repository, tmp_path):
    commits = [repository.commit() for _ in range(3)]
    record(database, commits[:2], [10.0, 11.0])
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--depth=1", f"file://{repository.path}", str(clone)]
    subprocess.run(command, check=True, capture_output=True)
    found = ask(database, Repository(clone))
    assert values(found) == []
    assert "last 1 commits" in found.notice
    assert "fetch-depth: 0" in found.notice


def test_a_clock_that_jumped_does_not_turn_the_order_round(database, repository):
    commits = [repository.commit() for _ in range(3)]
    for uid, commit, time, value in (
        ("a", commits[0], 4e9, 10.0),
        ("b", commits[1], -5.0, 11.0),
        ("c", commits[2], 3e9, 12.0),
    ):
        append(database, run(uid, commit, time), [entry(value)])
    assert values(ask(database, repository)) == [10.0, 11.0, 12.0]


def test_numbers_that_are_not_finite_come_back_as_they_were(database, repository):
    commits = [repository.commit() for _ in range(3)]
    record(database, commits, [math.nan, math.inf, -math.inf], samples=(math.nan, -0.0))
    found = ask(database, repository).of("throughput")
    assert math.isnan(found[0].value)
    assert [past.value for past in found[1:]] == [math.inf, -math.inf]
    assert math.copysign(1, found[0].samples[1]) == -1


def test_a_trace_is_the_newest_of_its_seed_on_the_line_and_of_the_same_torch(database, repository):
    commits = [repository.commit() for _ in range(2)]
    append(database, run("a", commits[0], 0.0), [], [trace_entry(1), trace_entry(2, seed=1)])
    append(database, run("b", commits[1], 1.0), [], [trace_entry(3)])
    append(database, run("c", "f" * 40, 2.0, branch="feature"), [], [trace_entry(4)])
    append(database, run("d", commits[1], 3.0, torch_version="3.0"), [], [trace_entry(5)])
    found = ask(database, repository)
    assert dict(found.traces) == {
        0: {"number": 3, "commit": commits[1]},
        1: {"number": 2, "commit": commits[0]},
    }
    assert found.notice == ""


def test_only_the_newest_traces_of_a_branch_are_kept_and_those_that_were_accepted(database, repository):
    commits = [repository.commit() for _ in range(6)]
    runs = [run(f"r{i}", commit, float(i)) for i, commit in enumerate(commits)]
    accept(database, [RECIPE], runs[0], reason="because", time=0.0)
    for number, one in enumerate(runs):
        append(database, one, [], [trace_entry(number)])
    kept = [ask(database, repository, commit).traces for commit in commits]
    numbers = [found[0]["number"] if found else None for found in kept]
    assert numbers == [0, 0, 0, 3, 4, 5]
