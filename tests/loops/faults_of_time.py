"""Loops of steps in time through which nothing is propagated, beside loops that may cut their graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault

BATCH, STEPS, HIDDEN = 32, 12, 16


class Stepper(nn.Module):
    """Calls a cell step by step, and hands its state on in some way."""

    def __init__(self, cell, hands_on, *, every_step=False):
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(8, 12), cell, nn.Linear(HIDDEN, 4)
        self.hands_on, self.every_step = hands_on, every_step

    def forward(self, tokens):
        state, seen = torch.zeros(len(tokens), HIDDEN), []
        for number in range(tokens.size(1)):
            state = self.cell(self.embedding(tokens[:, number]), self.hands_on(state, number))
            seen.append(self.head(state))
        return torch.stack(seen, 1) if self.every_step else seen[-1]


class Own(nn.Module):
    """A cell that its user has written."""

    def __init__(self):
        super().__init__()
        self.new, self.old = nn.Linear(12, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x, state):
        return torch.tanh(self.new(x) + self.old(state))


class Tutored(nn.Module):
    """A recurrent layer that is called on one word at a time."""

    def __init__(self, hands_on):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(8, 12), nn.GRU(12, HIDDEN, batch_first=True)
        self.head, self.hands_on = nn.Linear(HIDDEN, 4), hands_on

    def forward(self, tokens):
        state, scores = torch.zeros(1, len(tokens), HIDDEN), []
        for number in range(tokens.size(1)):
            seen, state = self.gru(self.embedding(tokens[:, number : number + 1]), state)
            state = self.hands_on(state, number)
            scores.append(self.head(seen[:, -1]))
        return scores[-1]


class Refiner(nn.Module):
    """Goes on from its own guess, again and again, on inputs that stay the same."""

    def __init__(self):
        super().__init__()
        self.step, self.head = Own(), nn.Linear(HIDDEN, 4)

    def forward(self, x):
        state = x.new_zeros(len(x), HIDDEN)
        for _ in range(STEPS):
            state = self.step(x, state.detach())
        return self.head(state)


def whole(state, _):
    return state


def without_graph(state, _):
    return state.detach()


def copied(state, _):
    return state.detach().clone()


def now_and_then(state, number):
    return state.detach() if number % 4 == 0 else state


def only_the_last(state, number):
    return state.detach() if number < STEPS - 3 else state


def _recalled(model, *, every_step=False):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        x = torch.randint(4, 8, (BATCH, STEPS))
        y = torch.randint(0, 4, (BATCH,))
        x[torch.arange(BATCH), torch.randint(0, 4, (BATCH,))] = y
        scores = model(x)
        optimizer.zero_grad()
        target = y[:, None].expand(-1, STEPS) if every_step else y
        F.cross_entropy(scores.reshape(-1, 4), target.reshape(-1)).backward()
        optimizer.step()


def _through_time(hands_on, cell=lambda: nn.GRUCell(12, HIDDEN), *, every_step=False):
    _recalled(model=Stepper(cell(), hands_on, every_step=every_step), every_step=every_step)


def recalls():
    _through_time(whole)


@fault(recalls, "gradients_flow", words=("detached at every time step", "cell", "through time"))
def state_detached_at_every_step():
    _through_time(without_graph)


@fault(recalls, "gradients_flow", words=("detached at every time step", "cell"))
def state_copied_without_its_graph():
    _through_time(copied)


@fault(recalls, "gradients_flow", words=("detached at every time step", "cell"))
def state_detached_under_a_loss_on_each_step():
    _through_time(without_graph, every_step=True)


def own_cell_recalls():
    _through_time(whole, Own)


@fault(own_cell_recalls, "gradients_flow", words=("detached at every time step", "cell"))
def state_of_an_own_cell_detached():
    _through_time(without_graph, Own)


def word_by_word():
    _recalled(model=Tutored(whole))


@fault(word_by_word, "gradients_flow", words=("detached at every time step", "gru"))
def state_detached_word_by_word():
    _recalled(model=Tutored(without_graph))


def _called_by_the_loop(hands_on, *, each=False):
    """The loop itself calls the cell, step after step."""
    cell, head = nn.GRUCell(2, HIDDEN), nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(8):
        x, state, loss = torch.randn(BATCH, STEPS, 2), torch.zeros(BATCH, HIDDEN), 0.0
        for number, step in enumerate(x.unbind(1)):
            state = cell(step, hands_on(state, number))
            if each:
                loss = loss + F.mse_loss(head(state)[:, 0], x[:, : number + 1, 0].mean(1))
        if not each:
            loss = F.mse_loss(head(state)[:, 0], x[:, :, 0].mean(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def steps_of_the_loop():
    _called_by_the_loop(whole)


@fault(steps_of_the_loop, "gradients_flow", words=("detached at every time step", "GRUCell"))
def state_detached_by_the_loop():
    _called_by_the_loop(without_graph)


def online():
    """A loss on each step that the loop makes, of a state that it cuts on purpose."""
    _called_by_the_loop(without_graph, each=True)


def truncated():
    _through_time(now_and_then)


def truncated_to_the_last_steps():
    _through_time(only_the_last, Own)


def refined():
    model = Refiner()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        x = torch.randn(BATCH, 12)
        optimizer.zero_grad()
        F.cross_entropy(model(x), (x.sum(1) > 0).long()).backward()
        optimizer.step()


def rolled_out_aside():
    """Rollouts without gradients, whose states are then learned from, step by step."""
    policy, head = nn.GRUCell(2, HIDDEN), nn.Linear(HIDDEN, 2)
    optimizer = torch.optim.Adam([*policy.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(8):
        seen, states, state = torch.randn(STEPS, BATCH, 2), [], torch.zeros(BATCH, HIDDEN)
        for step in seen:
            states.append(state)
            with torch.no_grad():
                state = policy(step, state)
        scores = torch.stack([head(policy(x, s)) for x, s in zip(seen, states, strict=True)])
        optimizer.zero_grad()
        F.cross_entropy(scores.reshape(-1, 2), (seen[..., 0] > 0).long().reshape(-1)).backward()
        optimizer.step()


def stored_states_of_a_model():
    """The same of a model with a cell within, which is asked at each of the states that it came to."""

    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(2, HIDDEN), nn.Linear(HIDDEN, 2)

        def forward(self, x, state):
            state = self.cell(x, state)
            return self.head(state), state

    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(8):
        seen, states = torch.randn(STEPS, BATCH, 2), [torch.zeros(BATCH, HIDDEN)]
        with torch.no_grad():
            for step in seen:
                states.append(policy(step, states[-1])[1])
        scores = torch.cat([policy(x, s)[0] for x, s in zip(seen, states, strict=False)])
        optimizer.zero_grad()
        F.cross_entropy(scores, (seen[..., 0] > 0).long().reshape(-1)).backward()
        optimizer.step()


def windows_under_one_loss():
    """Segments of a long sequence, cut from each other, with one backward for all."""
    model, head = nn.GRU(2, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(8):
        x, state, loss = torch.randn(BATCH, 6 * STEPS, 2), None, 0.0
        for segment in x.split(STEPS, 1):
            seen, state = model(segment, state)
            state = state.detach()
            loss = loss + F.mse_loss(head(seen)[..., 0], segment[..., 0].cumsum(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def feeds_its_guess():
    """A decoder that is given its own guess without graph, and its state with it."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(1, HIDDEN), nn.Linear(HIDDEN, 1)

        def forward(self, x, state):
            state = self.cell(x, state)
            return self.head(state), state

    model = Decoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        x = torch.randn(BATCH, 1)
        guess, state, loss = x, torch.zeros(BATCH, HIDDEN), 0.0
        for _ in range(STEPS):
            guess, state = model(guess.detach(), state)
            loss = loss + F.mse_loss(guess, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


QUIET = [
    *(online, truncated, truncated_to_the_last_steps, refined),
    *(rolled_out_aside, stored_states_of_a_model, windows_under_one_loss, feeds_its_guess),
]
