"""Clipping before the backward, after the step, and twice in a row is counted apart."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.steps.clips import Clips
from pytest_dlcheck.run.watch.steps.gradients import Gradients

NAMES = ("clips_before_backward", "clips_after_step", "clips_again")


def looked(turn, *, to_none=True, steps=4):
    """What is counted of ``turn(clip, backward, step)``, repeated."""
    layer = nn.Linear(3, 2)
    parameters = list(layer.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    gradients, clips = Gradients(parameters), Clips()

    def backward():
        optimizer.zero_grad(set_to_none=to_none)
        gradients.backward_begins()
        layer(torch.rand(4, 3)).sum().backward()
        gradients.backward_ends()

    def step():
        optimizer.step()
        gradients.step_ends()

    def clip(bound=0.1):
        norm = nn.utils.clip_grad_norm_(parameters, bound)
        clips.add(number, bound, norm, scaled=False)
        clips.look(number, parameters, gradients, norm)

    for number in range(steps):  # noqa: B007  read by clip
        turn(clip, backward, step)
    return clips.row()


def test_clipping_in_time_is_in_order():
    row = looked(lambda clip, backward, step: (backward(), clip(), step()))
    assert [row.integer(name) for name in NAMES] == [0, 0, 0]
    assert row.integer("clips") == row.integer("clips_looked") == 4


def test_clipping_before_the_first_backward_finds_nothing():
    row = looked(lambda clip, backward, step: (clip(), backward(), step()), steps=1)
    assert [row.integer(name) for name in NAMES] == [1, 0, 0]


@pytest.mark.parametrize("to_none", [True, False])
def test_clipping_after_the_step_clips_what_was_applied(to_none):
    row = looked(lambda clip, backward, step: (backward(), step(), clip()), to_none=to_none)
    assert [row.integer(name) for name in NAMES] == [0, 4, 0]


def test_clipping_twice_is_seen():
    row = looked(lambda clip, backward, step: (backward(), clip(), clip(), step()))
    assert [row.integer(name) for name in NAMES] == [0, 0, 4]


def test_a_norm_that_is_only_measured_has_no_bound():
    row = looked(lambda clip, backward, step: (backward(), step(), clip(math.inf)))
    assert not row.flag("clips_bounded")


def test_gradients_that_clipping_has_changed_are_not_reset():
    layer = nn.Linear(3, 2)
    gradients = Gradients(list(layer.parameters()))
    layer(torch.rand(4, 3)).sum().backward()
    gradients.backward_ends()
    gradients.step_ends()
    nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
    gradients.are_clipped()
    gradients.backward_begins()
    assert not gradients.was_reset


def test_a_name_that_was_imported_before_the_watch_is_heard():
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with watch() as run:
        for _ in range(8):
            optimizer.zero_grad()
            layer(torch.rand(4, 3)).sum().backward()
            clip_grad_norm_(layer.parameters(), 0.1)
            optimizer.step()
    assert run.trace.row("loop").integer("clips") == 7  # the first is of no optimizer that is known
