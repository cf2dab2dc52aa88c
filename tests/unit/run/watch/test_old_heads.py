"""Heads of an earlier training on a frozen body: what is heard of them, and that nothing of it stays."""

from __future__ import annotations

import copy
import gc
import io
import weakref

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.dynamics.frozen_examples import OLD_HEAD
from pytest_dlcheck.faults.dynamics.old_heads import old_heads
from pytest_dlcheck.trace import Row


def fit(model, held, rows, steps=40):
    optimizer = torch.optim.SGD(held, lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(rows).square().mean().backward()
        optimizer.step()


def pair():
    body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    return body, nn.Linear(8, 2), nn.Linear(8, 3)


def told(evaluate, *, change=lambda rows: 3 * rows + 2, steps=40):
    torch.manual_seed(0)
    (body, old, new), rows = pair(), torch.randn(64, 6)
    with watch("two heads") as run:
        fit(nn.Sequential(body, old), [*body.parameters(), *old.parameters()], rows)
        body.requires_grad_(requires_grad=False)
        fit(nn.Sequential(body, new), list(new.parameters()), change(rows), steps)
        body.eval()
        with torch.no_grad():
            evaluate(body, old, new, rows)
    assert not any(
        part._forward_hooks  # noqa: SLF001  there is no public way to them
        for each in (body, old, new)
        for part in each.modules()
    )
    return [row for _, trace in run.traces for row in trace.rows("old_heads")]


def test_a_head_that_is_given_the_bodys_result_is_told_with_what_it_is_given():
    (row,) = told(lambda body, old, new, rows: old(body(rows)))
    assert (row.text("name"), row.text("norm"), row.integer("steps")) == ("1 (Linear)", "0.1", 40)
    assert row.integer("samples") == 64
    assert 3 * row.number("from_before") < row.number("from_now")
    assert row.number("from_now") > 1


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda body, old, new, rows: new(body(rows)),
        lambda body, old, new, rows: (body(rows), old(torch.randn(64, 8))),
        lambda body, old, new, rows: old(body.train()(rows)),
        lambda body, old, new, rows: torch.enable_grad()(lambda: old(body(rows)))(),
        lambda body, old, new, rows: copy.deepcopy(old)(body(rows)),
    ],
    ids=["the new head", "features of before", "train mode", "with gradients", "a copy"],
)
def test_other_calls_are_not_told(evaluate):
    assert told(evaluate) == []


def test_nothing_is_told_of_the_first_steps():
    assert told(lambda body, old, new, rows: old(body(rows)), steps=8) == []


def test_each_result_is_told_with_what_it_was_made_of():
    def evaluate(body, old, new, rows):
        ours, theirs = body(rows), body(3 * rows + 2)
        new(theirs)
        old(ours)

    (row,) = told(evaluate)
    assert row.number("from_now") > 1


def test_what_is_heard_can_be_copied_and_saved():
    def evaluate(body, old, new, rows):
        kept = copy.deepcopy(nn.Sequential(body, old))
        buffer = io.BytesIO()
        torch.save(nn.Sequential(body, old), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=False)
        assert torch.equal(kept(rows), old(body(rows)))
        assert torch.equal(loaded(rows), kept(rows))

    assert len(told(evaluate)) == 1


def test_more_is_asked_where_batches_are_so_small_that_they_move_statistics_themselves():
    def trace(samples):
        return example_trace(old_heads=Row(OLD_HEAD, from_now=0.4, from_before=0.1, samples=samples))

    assert old_heads(trace(8)) is not None
    assert old_heads(trace(2)) is None
    assert old_heads(trace(0)) is None


def test_a_head_is_let_be_that_is_also_evaluated_on_what_the_statistics_have_moved_to():
    def evaluate(body, old, new, rows):
        old(body(3 * rows + 2))
        old(body(rows))

    (row,) = told(evaluate)
    assert row.number("from_now") > 3 * row.number("from_before")
    assert row.number("best_from_before") > 3 * row.number("best_from_now")
    assert old_heads(example_trace(old_heads=row)) is None


def test_what_the_loop_drops_is_freed_while_the_watch_goes_on():
    rows, dropped = torch.randn(64, 6), []

    def transfer():
        body, old, new = pair()
        fit(nn.Sequential(body, old), [*body.parameters(), *old.parameters()], rows)
        body.requires_grad_(requires_grad=False)
        fit(nn.Sequential(body, new), list(new.parameters()), 3 * rows + 2)
        body.eval()
        with torch.no_grad():
            old(body(rows))
        dropped.extend(weakref.ref(part) for part in (body, *body, old, new))

    with watch("two heads") as run:
        transfer()
        another = nn.Linear(6, 2)
        fit(another, list(another.parameters()), rows)
        gc.collect()
        assert [part for part in dropped if part() is not None] == []
    assert [row.text("norm") for _, trace in run.traces for row in trace.rows("old_heads")] == ["0.1"]


def test_a_body_that_is_thawed_later_and_dropped_was_not_frozen_for_good():
    rows = torch.randn(64, 6)

    def transfer():
        body, old, new = pair()
        fit(nn.Sequential(body, old), [*body.parameters(), *old.parameters()], rows)
        body.requires_grad_(requires_grad=False)
        fit(nn.Sequential(body, new), list(new.parameters()), 3 * rows + 2)
        body.eval()
        with torch.no_grad():
            old(body(rows))
        body.requires_grad_(requires_grad=True)

    with watch("two heads") as run:
        transfer()
        another = nn.Linear(6, 2)
        fit(another, list(another.parameters()), rows)
    assert [row for _, trace in run.traces for row in trace.rows("old_heads")] == []


@pytest.mark.parametrize(
    ("momentum", "batches"), [(0.1, 19), (0.5, 3), (1.0, 1), (None, 40), (0.0, 1e6)]
)
def test_a_normalisations_own_momentum_says_how_many_batches_its_statistics_are_worth(momentum, batches):
    def evaluate(body, old, new, rows):
        body[1].momentum = momentum
        old(body(rows))

    (row,) = told(evaluate)
    assert row.number("averaged") == pytest.approx(batches)


def test_more_is_asked_where_few_batches_are_averaged():
    def trace(averaged):
        return example_trace(old_heads=Row(OLD_HEAD, from_now=0.4, from_before=0.1, averaged=averaged))

    assert old_heads(trace(19.0)) is not None
    assert old_heads(trace(1e6)) is not None
    assert old_heads(trace(3.0)) is None


def test_nothing_is_told_where_a_handful_of_samples_is_averaged():
    far = Row(OLD_HEAD, from_now=1.6, from_before=0.1, averaged=1.0)
    assert old_heads(example_trace(old_heads=Row(far, samples=64))) is not None
    assert old_heads(example_trace(old_heads=Row(far, samples=4))) is None
