"""Loops that carry a hidden state from batch to batch, beside loops that may do so."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .faults import fault

SAMPLES, STEPS, TEXT = 480, 8, 40


class Keeper(nn.Module):
    """Keeps its hidden state as an attribute until it is told to begin anew."""

    def __init__(self, classes=2):
        super().__init__()
        self.rnn, self.head, self.state = nn.GRU(2, 16, batch_first=True), nn.Linear(16, classes), None

    def forward(self, x):
        seen, state = self.rnn(x, self.state)
        self.state = state.detach()
        return self.head(seen[:, -1])


class Cell(nn.Module):
    """The same, of a cell that is called step by step."""

    def __init__(self):
        super().__init__()
        self.cell, self.head, self.state = nn.GRUCell(2, 16), nn.Linear(16, 2), None

    def forward(self, x):
        state = x.new_zeros(len(x), 16) if self.state is None else self.state
        for step in x.unbind(1):
            state = self.cell(step, state)
        self.state = state.detach()
        return self.head(state)


class Given(nn.Module):
    """Gives its state, and is given it."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head, self.state = nn.LSTM(2, 16, batch_first=True), nn.Linear(16, 2), None

    def forward(self, x, state):
        seen, state = self.rnn(x, state)
        return self.head(seen[:, -1]), state


def strokes():
    x = torch.randn(SAMPLES, STEPS, 2)
    return x, (x[:, :, 0].sum(1) > 0).long()


def _steps(model, batches, begins=lambda number: False):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for number, (x, y) in enumerate(batches):
        if begins(number):
            model.state = None
        if isinstance(model, Given):
            scores, state = model(x, model.state)
            model.state = tuple(part.detach() for part in state)
        else:
            scores = model(x)
        optimizer.zero_grad()
        F.cross_entropy(scores, y).backward()
        optimizer.step()


def in_random_order(x, y, passes=5, size=32):
    for _ in range(passes):
        for rows in torch.randperm(len(x)).split(size):
            if len(rows) == size:
                yield x[rows], y[rows]


def begins_anew():
    _steps(Keeper(), in_random_order(*strokes()), begins=lambda number: True)


@fault(begins_anew, "samples_stay_apart", words=("hidden state is carried",))
def state_kept_as_an_attribute():
    _steps(Keeper(), in_random_order(*strokes()))


@fault(begins_anew, "samples_stay_apart", words=("hidden state is carried",))
def state_of_a_cell_kept():
    _steps(Cell(), in_random_order(*strokes()))


@fault(begins_anew, "samples_stay_apart", words=("hidden state is carried",))
def state_handed_on_by_the_loop():
    _steps(Given(), in_random_order(*strokes()))


@fault(begins_anew, "samples_stay_apart", words=("hidden state is carried",))
def state_kept_over_many_batches():
    x = torch.randn(16 * 90, STEPS, 2)
    _steps(Keeper(), in_random_order(x, (x[:, :, 0].sum(1) > 0).long(), size=16))


def _loaded(*, begins):
    x, y = strokes()
    loader = DataLoader(TensorDataset(x.flatten(1), y), 32, shuffle=True)
    _steps(Keeper(), ((x.reshape(-1, STEPS, 2), y) for _ in range(3) for x, y in loader), begins)


def loaded_and_begins_anew():
    _loaded(begins=lambda number: True)


@fault(loaded_and_begins_anew, "samples_stay_apart", words=("hidden state is carried",))
def state_kept_on_batches_that_are_viewed():
    _loaded(begins=lambda number: False)


def one_long_text():
    """Truncated backpropagation: each row goes on where it was, in every pass."""
    signal = torch.randn(16, TEXT * STEPS, 2)
    windows = signal.unfold(1, STEPS, STEPS).permute(1, 0, 3, 2).contiguous()
    labels = (windows[..., 0].sum(2) > 0).long()
    batches = [pair for _ in range(5) for pair in zip(windows, labels, strict=True)]
    _steps(Keeper(), batches, begins=lambda number: number % TEXT == 0)


def _recordings(passes, parts):
    """Recordings in random order, each cut into parts that follow one another."""
    x = torch.randn(96, parts, STEPS, 2)
    y = (x[..., 0].sum(2) > 0).long()
    for _ in range(passes):
        for rows in torch.randperm(len(x)).split(16):
            yield from ((x[rows, part], y[rows, part]) for part in range(parts))


def recordings_in_parts():
    """The state goes on within recordings, and begins anew with the next."""
    _steps(Keeper(), _recordings(6, 6), begins=lambda number: number % 6 == 0)


def endless_signal():
    """A stream that never comes again."""
    batches = ((x, (x[:, :, 0].sum(1) > 0).long()) for x in torch.randn(200, 16, STEPS, 2))
    _steps(Keeper(), batches)


def endless_bits():
    """A stream of words that are drawn from few, and come again by chance."""
    words = torch.randint(2, (200, 16, STEPS, 1)).float().expand(-1, -1, -1, 2)
    _steps(Keeper(), ((x, (x[:, :, 0].sum(1) > 4).long()) for x in words))


def prototypes_are_remembered():
    """A memory of classes moves with every batch; the recurrent layer begins anew."""
    x, y = strokes()
    model, memory = Keeper(classes=8), torch.zeros(2, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for rows, labels in in_random_order(x, y):
        model.state = None
        given = model(rows)
        for label in range(2):
            memory[label] = 0.9 * memory[label] + 0.1 * given[labels == label].mean(0).detach()
        optimizer.zero_grad()
        F.cross_entropy(-torch.cdist(given, memory), labels).backward()
        optimizer.step()


def steps_of_one_world():
    """A policy's state goes on from step to step of worlds with few places."""
    places = torch.randn(40, 1, 2)
    at, model = torch.randint(40, (16,)), Keeper()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        chances = torch.distributions.Categorical(logits=model(places[at]))
        acts = chances.sample()
        at = (at + 2 * acts - 1) % 40
        optimizer.zero_grad()
        (-chances.log_prob(acts) * (at < 20).float()).mean().backward()
        optimizer.step()


QUIET = [
    begins_anew,
    loaded_and_begins_anew,
    one_long_text,
    recordings_in_parts,
    endless_signal,
    endless_bits,
    prototypes_are_remembered,
    steps_of_one_world,
]
"""None of them may raise an alarm."""
