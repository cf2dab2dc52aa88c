"""Copies that follow a trained model are told from those that stand still or only shrink."""

import copy

import pytest
import torch
from torch import nn

from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.evaluated.teachers import Teachers
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.following import Sample, has_moved

STEPS = 64


def moved(follow, rate=1e-2):
    """Whether a copy has, after steps of a model that walks at random."""
    torch.manual_seed(0)
    model = nn.Linear(16, 16)
    average = copy.deepcopy(model)
    before, then = Sample.of(average), Sample.of(model)
    with torch.no_grad():
        for _ in range(STEPS):
            for a, b in zip(average.parameters(), model.parameters(), strict=True):
                b.add_(rate * torch.randn_like(b))
                follow(a, b)
    return has_moved(average, before, model, then, STEPS)


@pytest.mark.parametrize("decay", [0.5, 0.99, 0.9999])
@pytest.mark.parametrize("rate", [1e-2, 1e-5])
def test_an_average_moves_however_slow(decay, rate):
    assert moved(lambda a, b: a.mul_(decay).add_(b, alpha=1 - decay), rate)


@pytest.mark.parametrize(
    "follow",
    [
        lambda a, _: None,
        lambda a, _: a.copy_(0.9 * a + 0.1 * a),
        lambda a, _: a.mul_(0.95).add_(a, alpha=0.05),
    ],
    ids=["not at all", "itself", "itself in place"],
)
def test_a_copy_that_follows_nothing_stands_still(follow):
    assert not moved(follow)


def test_a_copy_of_no_known_model_has_moved_where_a_bit_has():
    model = nn.Linear(2, 2)
    before = Sample.of(model)
    assert not has_moved(model, before, None, None, 1)
    with torch.no_grad():
        model.weight.mul_(0.5)
    assert has_moved(model, before, None, None, 1)


def taught(change=None, *, same=True):
    """The rows of a copy, or of another model, that is called at two steps."""
    model = nn.Linear(4, 4)
    teacher = copy.deepcopy(model) if same else nn.Linear(4, 4)
    teachers = Teachers(Guard(), Compilation())
    teachers.called(teacher, 0, in_train_mode=False)
    teachers.training_begins(model, 0)
    for step in (1, 2):
        teachers.called(teacher, step, in_train_mode=step == 2)
        if change:
            change(teacher)
        teachers.stepped(step)
    teachers.close(600)
    return teachers.rows(set(map(id, model.parameters()))), teachers.rows(
        set(map(id, teacher.parameters()))
    )


def test_a_copy_that_stands_still_is_told_of_with_its_modes():
    (row,), own = taught()
    assert row.flag("was_copy")
    assert row.integer("stands_still") == 600
    assert (row.integer("steps"), row.integer("in_train_mode")) == (2, 1)
    assert own == ()


def test_another_model_is_no_copy():
    (row,), _ = taught(same=False)
    assert not row.flag("was_copy")


@torch.no_grad()
def test_what_moves_stands_still_for_no_step():
    (row,), own = taught(lambda teacher: teacher.weight.add_(1))
    assert row.integer("stands_still") == 0
    assert own == ()


@pytest.mark.parametrize(("kept", "most"), [(0.99, None), (0.01, 0.02)])
def test_how_far_a_copy_is_behind_is_seen_at_its_calls_after_two_steps(kept, most):
    torch.manual_seed(0)
    model = nn.Linear(32, 32)
    target = copy.deepcopy(model)
    teachers, row = Teachers(Guard(), Compilation()), torch.randn(2, 32)
    teachers.called(target, 0, in_train_mode=False)
    teachers.training_begins(model, 0)
    with torch.no_grad():
        for step in range(1, 100):
            target(row)
            for own in model.parameters():
                own.add_(0.01 * torch.randn_like(own))
            teachers.stepped(step)
            for its, own in zip(target.parameters(), model.parameters(), strict=True):
                its.mul_(kept).add_(own, alpha=1 - kept)
    teachers.close(100)
    (found,) = teachers.rows(set())
    assert found.integer("looks_behind") >= 3
    assert found.number("least_behind") > 0
    assert found.number("most_behind") < most if most else found.number("least_behind") > 0.5
