"""Timed trials of two commits run at the same time, joined by a socket; each is told by itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_dlcheck.plan import PlannedTrial
from pytest_dlcheck.plugin import isolation, running
from pytest_dlcheck.plugin.endings import Death
from pytest_dlcheck.plugin.running import End
from pytest_dlcheck.run.bench import turns
from pytest_dlcheck.trace import Ending, Series, Trace
from pytest_dlcheck.trial import Trial

COMMIT = "3f2a1c"
HEAD = PlannedTrial(Trial("bench_train"), frozenset({"step_seconds"}))
BASE = PlannedTrial(Trial("bench_train", revision=COMMIT), HEAD.wanted)


class Child:
    """Stands for a child: notes how it was started, and answers what it is told to."""

    started: list[Child]
    dies = staticmethod(lambda child: False)
    ending = staticmethod(lambda child: Ending())

    def __init__(self, guard, order, folder, progress, line=None, *, first=True):
        self.trial, self.line, self.first, self.ended = order.trial, line and line.fileno(), first, False
        Child.started.append(self)

    def is_over(self):
        return True

    def end(self):
        self.ended = True
        if Child.dies(self):
            return End(None, Death(code=-9, begun=True))
        trace = Trace(self.trial, Child.ending(self), {"step_seconds": Series((0,), (0.1,))})
        return End({"trace": trace.to_json()}, Death(code=0, begun=True))


@pytest.fixture
def isolated(monkeypatch, tmp_path):
    """What runs trials of a recipe, with children that only seem to run."""
    Child.started = []
    monkeypatch.setattr(Child, "dies", staticmethod(lambda child: False))
    monkeypatch.setattr(Child, "ending", staticmethod(lambda child: Ending()))
    monkeypatch.setattr(isolation, "Running", Child)
    parameters = SimpleNamespace(args=(), dir=tmp_path)
    config = SimpleNamespace(
        stash={}, option=SimpleNamespace(), invocation_params=parameters, rootpath=tmp_path
    )
    worktree = SimpleNamespace(commit=COMMIT, label=COMMIT, missing=(), redirection=lambda path: None)
    item = SimpleNamespace(
        nodeid="test_it.py::small::throughput",
        path=Path("test_it.py"),
        variant=SimpleNamespace(nodeid="test_it.py::small"),
    )
    runner = isolation.Isolation(config, worktree)
    return lambda planned: runner.run(item, planned, None, None)


def test_both_commits_are_started_at_once_and_told_one_after_the_other(isolated):
    head, base = isolated(HEAD), isolated(BASE)
    assert (head.trial, base.trial) == (HEAD.trial, BASE.trial)
    assert [child.trial for child in Child.started] == [HEAD.trial, BASE.trial]
    assert [child.first for child in Child.started] == [True, False]
    assert None not in {child.line for child in Child.started}
    assert len({child.line for child in Child.started}) == 2


def test_whichever_is_asked_for_first_begins(isolated):
    isolated(BASE)
    isolated(HEAD)
    assert [child.trial for child in Child.started] == [BASE.trial, HEAD.trial]


def test_each_pair_runs_once(isolated):
    for number in range(3):
        for planned in (HEAD, BASE):
            trial = Trial("bench_train", revision=planned.trial.revision, replicate=number)
            isolated(PlannedTrial(trial, HEAD.wanted))
    assert len(Child.started) == 6


@pytest.mark.parametrize(
    "planned",
    [
        PlannedTrial(Trial("bench_train", device="cuda"), HEAD.wanted),
        PlannedTrial(Trial("bench_train"), frozenset({"step_memory"})),
        PlannedTrial(Trial("train"), frozenset({"loss"})),
    ],
    ids=["on a GPU", "memory alone", "not timed"],
)
def test_what_gains_nothing_by_turns_runs_alone(isolated, planned):
    isolated(planned)
    assert [(child.trial, child.line) for child in Child.started] == [(planned.trial, None)]


def test_where_one_of_two_dies_each_is_run_by_itself_from_then_on(isolated, monkeypatch):
    monkeypatch.setattr(Child, "dies", staticmethod(lambda child: child.line is not None))
    assert isolated(HEAD).ending.kind == "completed"
    assert isolated(BASE).ending.kind == "completed"
    assert [child.line is None for child in Child.started] == [False, False, True, True]
    assert all(child.ended for child in Child.started)


@pytest.mark.parametrize("kind", ["raised", "out_of_memory"])
def test_an_error_that_comes_of_running_beside_another_is_no_verdict(isolated, monkeypatch, kind):
    def ending(child):
        return Ending(kind if child.line is not None else "completed")

    monkeypatch.setattr(Child, "ending", staticmethod(ending))
    assert isolated(HEAD).ending.kind == "completed"
    assert isolated(BASE).ending.kind == "completed"
    assert len(Child.started) == 4


def test_where_the_second_cannot_be_started_nothing_is_left_of_the_first(isolated, monkeypatch):
    class Refusing(Child):
        def __init__(self, *args, first=True, **more):
            if not first:
                raise OSError("too many open files")
            super().__init__(*args, first=first, **more)

    monkeypatch.setattr(isolation, "Running", Refusing)
    with pytest.raises(OSError, match="too many"):
        isolated(HEAD)
    assert [child.ended for child in Child.started] == [True]


def test_parent_and_child_mean_the_same_variable():
    assert running.TURNS == turns.VARIABLE
