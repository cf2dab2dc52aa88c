"""A fault of the watch itself does not reach the loop: nothing is judged, and it is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import Recipe, diagnose, watch
from pytest_dlcheck.checks.steps_are_in_order import StepsAreInOrder
from pytest_dlcheck.run.watch import telling
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.losses.likeness import Likeness
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.watcher import Watcher
from pytest_dlcheck.verdict import Outcome


@pytest.fixture
def faults_of_the_watch_are_raised():
    """Not here."""


def train(model, steps):
    """A plain loop; returns how many steps it took."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taken = 0
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))).backward()
        optimizer.step()
        taken += 1
    return taken


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def broken(*_, **__):
    raise LookupError("no such thing\nand more of it")


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Strand, "step_ends"),  # at a step
        (Visits, "add"),  # within a module's call
        (Likeness, "_given"),  # with a module's output
        (Watcher, "backward_begins"),  # before a backward
        (Strand, "close"),  # at the end
        (telling, "_phases"),  # afterwards
    ],
)
def test_the_loop_goes_on_and_nothing_is_judged(monkeypatch, owner, method):
    monkeypatch.setattr(owner, method, broken)
    model = net()
    with watch() as run:
        assert train(model, 20) == 20
    assert "LookupError: no such thing (" in run.summary
    assert "fault of pytest-dlcheck" in run.summary
    assert "more of it" not in run.summary
    assert {verdict.outcome for verdict in run.verdicts} == {Outcome.INCONCLUSIVE}
    hooks = [[*m._forward_hooks, *m._forward_pre_hooks] for m in model.modules()]  # noqa: SLF001
    assert not any(hooks)
    run.check()


def test_a_loops_own_error_stays_its_own():
    def fails():
        train(net(), 5)
        raise ValueError("its own")

    with watch() as run, pytest.raises(ValueError, match="its own"):
        fails()
    assert run.fault == ""


def test_a_check_that_fails_itself_is_inconclusive_and_others_are_judged(monkeypatch):
    monkeypatch.setattr(StepsAreInOrder, "decide", broken)
    with watch() as run:
        train(net(), 20)
    found = {verdict.check: verdict for verdict in run.verdicts}
    assert found["steps_are_in_order"].outcome is Outcome.INCONCLUSIVE
    assert "LookupError: no such thing" in found["steps_are_in_order"].because
    assert found["parameters_update"].outcome is Outcome.PASSED


def test_a_recipes_own_loop_is_ended_and_its_checks_are_inconclusive(monkeypatch):
    monkeypatch.setattr(Strand, "step_ends", broken)
    ended = []

    def loop(model):
        train(model, 10_000)
        ended.append(model)

    chosen = ["loss_decreases", "steps_are_in_order"]
    found = diagnose(Recipe(model=net(), train=loop), select=chosen)
    assert ended == []
    assert {verdict.outcome for verdict in found.verdicts} == {Outcome.INCONCLUSIVE}


def test_what_takes_hooks_off_runs_after_a_fault_too():
    guard, done = Guard(), []
    guard(broken)()
    guard.attempt(broken)
    guard.attempt(lambda: done.append(1))
    assert done == [1]
    assert guard.fault.startswith("LookupError")
