"""What a watched block is told of when nothing, or nothing by backward, was trained in it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome
from pytest_dlcheck.watching import NothingTrainedError


def steps(give_gradients, count=12):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(count):
        optimizer.zero_grad()
        x = torch.randn(8, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
        give_gradients(model, loss)
        optimizer.step()


def propagated(model, loss):
    loss.backward()


def none(model, loss):
    """The line with backward is missing."""


def estimated(model, loss):
    """As evolution strategies do: a direction that was tried, weighted by what it gave."""
    for p in model.parameters():
        p.grad = loss.detach() * torch.randn_like(p)


@pytest.mark.parametrize("give_gradients", [propagated, estimated])
def test_gradients_come_from_backward_or_by_hand(give_gradients):
    with watch() as run:
        steps(give_gradients)
    assert run.is_trained
    assert run.summary.startswith("12 optimizer steps")
    assert not run.failures


def test_what_is_not_settled_is_counted_beside_what_passed():
    with watch() as run:
        steps(propagated)
    unsettled = [v for v in run.verdicts if v.outcome is Outcome.INCONCLUSIVE]
    assert unsettled
    assert run.summary.endswith(f"of {len(run.verdicts)} verdicts, {len(unsettled)} open")


def test_steps_without_any_backward_are_told_as_such():
    with watch() as run:
        steps(none)
    assert not run.is_trained
    assert "12 optimizer steps applied nothing" in run.summary
    with pytest.raises(NothingTrainedError, match=r"call loss.backward\(\)"):
        run.check()


def test_a_block_that_does_nothing_is_told_of_other_processes():
    with watch() as run:
        pass
    assert "watch that process" in run.summary


@pytest.mark.parametrize(
    ("end", "is_short"), [(KeyError("mine"), True), (SystemExit(0), False), (SystemExit(2), True)]
)
def test_an_error_and_an_exit_with_one_cut_a_loop_short(end, is_short):
    def train():
        steps(propagated)
        raise end

    with pytest.raises(type(end)), watch() as run:
        train()
    assert run.trace.row("loop").flag("was_cut_short") == is_short


def test_a_loop_that_comes_to_its_end_is_not_cut_short():
    with watch() as run:
        steps(propagated)
    with watch(stop_after=6) as stopped:
        steps(propagated)
    assert [r.trace.row("loop").flag("was_cut_short") for r in (run, stopped)] == [False, True]
