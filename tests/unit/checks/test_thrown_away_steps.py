"""Cells whose steps come to nothing are named; cells that recur, or are no steps, are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch
from pytest_dlcheck.recipe import Recipe

from .conftest import examination

WIDTH, STEPS = 8, 6


class Gated(nn.Module):
    """A cell of one's own."""

    def __init__(self):
        super().__init__()
        self.gate, self.new = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x, h):
        both = torch.cat([x, h], 1)
        gate = self.gate(both).sigmoid()
        return gate * h + (1 - gate) * self.new(both).tanh()


class Unrolled(nn.Module):
    """Runs a cell over time by hand, as ``run`` does it."""

    def __init__(self, run, cell=nn.GRUCell):
        super().__init__()
        self.cell = Gated() if cell is Gated else cell(WIDTH, WIDTH)
        self.back, self.head = nn.GRUCell(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.run = run

    def start(self, x):
        zeros = x.new_zeros(len(x), WIDTH)
        return (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros

    def forward(self, x):
        h = self.run(self, x)
        return self.head(h[0] if isinstance(h, tuple) else h)


def hands_on(net, x):
    h = net.start(x)
    for t in range(x.size(1)):
        h = net.cell(x[:, t], h)
    return h


def begins_anew(net, x):
    for t in range(x.size(1)):
        h = net.start(x)
        h = net.cell(x[:, t], h)
    return h


def keeps_the_first(net, x):
    first = net.start(x)
    for t in range(x.size(1)):
        h = net.cell(x[:, t], first)
    return h


def forgets_the_state(net, x):
    for t in range(x.size(1)):
        h = net.cell(x[:, t])
    return h


def cuts_the_graph(net, x):
    h = net.start(x)
    for t in range(x.size(1)):
        h = net.cell(x[:, t], h.detach())
    return h


def stops_early(net, x):
    h = net.start(x)
    for t in range(x.size(1)):
        h = net.cell(x[:, t], h)
        if t > 2:
            break
    return h


def each_alone(net, x):
    return torch.stack([net.cell(x[:, t]) for t in range(x.size(1))]).mean(0)


def each_by_itself_while_training(net, x):
    steps = [net.cell(x[:, t]) for t in range(x.size(1))]
    return torch.stack(steps).mean(0) if net.training else steps[-1]


def both_ways(net, x):
    h, back = net.start(x), net.start(x)
    for t in range(x.size(1)):
        h, back = net.cell(x[:, t], h), net.back(x[:, -1 - t], back)
    return h + back


def twice(net, x):
    net.cell(x[:, 0])
    return net.cell(x.mean(1))


def remembers(net, x):
    net.memory = [net.cell(x[:, t]) for t in range(x.size(1))]
    return net.memory[-1]


def recipe_of(run, cell=nn.GRUCell, loss=None):
    def build():
        model = Unrolled(run, cell)
        inputs, labels = torch.randn(16, STEPS, WIDTH), torch.randint(0, 3, (16,))
        data = [(inputs, labels)]
        return Recipe(model=model, train_data=data, loss=loss or nn.CrossEntropyLoss())

    return build


def verdict_on(factory):
    asked = examination(factory, ("uses_its_inputs",))
    return asked.judge("uses_its_inputs", factory)


@pytest.mark.parametrize(
    ("run", "cell", "words"),
    [
        (begins_anew, nn.GRUCell, "begun anew at every step"),
        (begins_anew, nn.LSTMCell, "begun anew at every step"),
        (begins_anew, nn.RNNCell, "begun anew at every step"),
        (keeps_the_first, nn.GRUCell, "the same hidden state at every step"),
        (keeps_the_first, nn.LSTMCell, "the same hidden state at every step"),
    ],
)
def test_steps_that_come_to_nothing_are_found(run, cell, words):
    verdict = verdict_on(recipe_of(run, cell))
    assert verdict.failed
    assert f"{STEPS - 1} of {STEPS} calls of `cell`" in verdict.because
    assert words in verdict.cause
    assert verdict.sites == ("cell",)


@pytest.mark.parametrize(
    "run",
    [
        *(hands_on, cuts_the_graph, stops_early, each_alone),
        *(each_by_itself_while_training, both_ways, twice, remembers),
    ],
)
def test_cells_that_recur_or_are_no_steps_are_left_alone(run):
    assert "`cell`" not in verdict_on(recipe_of(run)).cause


class Streaming(nn.GRUCell):
    """Keeps its state itself."""

    def forward(self, x, h):
        self.kept = super().forward(x, getattr(self, "kept", h)[: len(x)] * 1)
        return self.kept


class Resetting(Unrolled):
    """Begins anew where a step says so, and the last one always does."""

    def forward(self, x):
        h = self.start(x)
        for t in range(x.size(1)):
            begins = (x[:, t, :1] > 2).float() if t + 1 < x.size(1) else 1.0
            h = self.cell(x[:, t], h * (1 - begins))
        return self.head(h)


def test_states_that_the_data_or_a_cell_begin_anew_are_left_alone():
    assert not verdict_on(recipe_of(begins_anew, Gated)).failed
    assert "`cell`" not in verdict_on(recipe_of(forgets_the_state, nn.GRUCell)).cause
    assert "`cell`" not in verdict_on(recipe_of(begins_anew, Streaming)).cause

    def resetting():
        data = [(torch.randn(16, STEPS, WIDTH), torch.randint(0, 3, (16,)))]
        return Recipe(model=Resetting(None), train_data=data, loss=nn.CrossEntropyLoss())

    assert "`cell`" not in verdict_on(resetting).cause


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.RNNCell, Gated])
def test_other_cells_that_recur_are_left_alone(cell):
    assert not verdict_on(recipe_of(hands_on, cell)).failed


class Refining(nn.Module):
    """Answers after every layer by one head, and gives its last answer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.answer, self.head = Gated(), nn.Linear(WIDTH, 3)

    def forward(self, x):
        h = x.mean(1)
        for layer in self.layers:
            before, h = h, layer(h).relu()
            answer = self.answer(h, before)
        return self.head(answer)


def test_a_module_that_is_no_cell_may_answer_more_often_than_needed():
    def build():
        inputs, labels = torch.randn(16, STEPS, WIDTH), torch.randint(0, 3, (16,))
        return Recipe(model=Refining(), train_data=[(inputs, labels)], loss=nn.CrossEntropyLoss())

    assert not verdict_on(build).failed


def failures_of_a_loop(run):
    model = Unrolled(run)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with watch() as watched:
        for _ in range(6):
            x, y = torch.randn(16, STEPS, WIDTH), torch.randint(0, 3, (16,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return [f.verdict for f in watched.failures if f.verdict.check == "uses_its_inputs"]


def test_steps_that_come_to_nothing_are_found_in_a_watched_loop():
    (verdict,) = failures_of_a_loop(begins_anew)
    assert verdict.sites == ("cell",)
    assert "begun anew" in verdict.cause


@pytest.mark.parametrize("run", [hands_on, each_alone])
def test_a_watched_cell_that_recurs_is_left_alone(run):
    assert failures_of_a_loop(run) == []
