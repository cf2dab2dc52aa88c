"""Losses that are added up for the log, of which a term alone is propagated; and sums that look so."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, tumours
from .faults import fault
from .healthy import mlp


class Sparse(nn.Module):
    """Fills a row in again, by few of its many features."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(30, 64), nn.Linear(64, 30)

    def forward(self, x):
        active = self.down(x).relu()
        return self.up(active), active


def _trained(step, model=None, data=tumours, epochs=3, **options):
    model = model or Sparse()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, **options)
    for _ in range(epochs):
        for x, y in DataLoader(TensorDataset(*data()), 32, shuffle=True):
            optimizer.zero_grad()
            step(model, x, y)
            optimizer.step()


def sparse():
    history = []

    def step(model, x, _):
        filled, active = model(x)
        fits = F.mse_loss(filled, x)
        objective = fits + 0.05 * active.abs().mean()
        objective.backward()
        history.append(float(objective.detach()))

    _trained(step)


@fault(sparse, "gradients_flow", words=("a part of the loss `objective`",))
def sparse_by_name_only():
    history = []

    def step(model, x, _):
        filled, active = model(x)
        fits = F.mse_loss(filled, x)
        objective = fits + 0.05 * active.abs().mean()
        (fits / 2).backward()
        history.append(objective.item())

    _trained(step)


def _accurate_and_alike(model, x, y):
    seen = model(x)
    return F.mse_loss(seen, y), (model(x + 0.1 * torch.randn_like(x)) - seen).square().mean()


def steady():
    def step(model, x, y):
        loss, change = _accurate_and_alike(model, x, y)
        total_loss = loss + 0.3 * change
        total_loss.backward()

    _trained(step, mlp(10, 32, 1), diabetes, epochs=5)


@fault(steady, "gradients_flow", words=("a part of the loss `total_loss`",), advice=True)
def steady_from_a_later_phase_on():
    taken = 0

    def step(model, x, y):
        nonlocal taken
        taken += 1
        loss, change = _accurate_and_alike(model, x, y)
        total_loss = loss + 0.3 * change
        (loss if taken < 1000 else total_loss).backward()

    _trained(step, mlp(10, 32, 1), diabetes, epochs=5)


def sparse_by_key():
    def step(model, x, _):
        filled, active = model(x)
        losses = {"fit": F.mse_loss(filled, x), "few": 0.05 * active.abs().mean()}
        losses["total"] = losses["fit"] + losses["few"]
        losses["total"].backward()

    _trained(step)


@fault(sparse_by_key, "gradients_flow", words=('a part of the loss `losses["total"]`',), advice=True)
def sparse_by_another_key():
    def step(model, x, _):
        filled, active = model(x)
        losses = {"fit": F.mse_loss(filled, x), "few": 0.05 * active.abs().mean()}
        losses["total"] = losses["fit"] + losses["few"]
        losses["fit"].backward()

    _trained(step)


def decay_is_the_optimizer_s():
    """The objective that is logged holds what the optimizer sees to."""
    history = []

    def step(model, x, y):
        loss = F.mse_loss(model(x), y)
        objective = loss + 0.005 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        history.append(objective.item())

    _trained(step, mlp(10, 32, 1), diabetes, epochs=5, weight_decay=0.01)


def one_after_the_other():
    history = []

    def step(model, x, _):
        filled, active = model(x)
        fits, few = F.mse_loss(filled, x), 0.05 * active.abs().mean()
        total = fits + few
        fits.backward(retain_graph=True)
        few.backward()
        history.append(total.item())

    _trained(step)


def one_of_several_exits():
    """Each step trains one depth, drawn at random; the log holds all."""
    first, second, exits = mlp(30, 32), mlp(32, 32), nn.ModuleList([nn.Linear(32, 1) for _ in range(2)])
    model = nn.ModuleList([first, second, exits])
    history = []

    def step(_, x, y):
        early = first(x).relu()
        late = second(early).relu()
        near = F.binary_cross_entropy_with_logits(exits[0](early)[:, 0], y)
        far = F.binary_cross_entropy_with_logits(exits[1](late)[:, 0], y)
        total = near + far
        random.choice((near, far)).backward()
        history.append(total.item())

    _trained(step, model)


def term_of_no_weight():
    history = []

    def step(model, x, _):
        filled, active = model(x)
        fits = F.mse_loss(filled, x)
        total = fits + 0.0 * active.abs().mean()
        fits.backward()
        history.append(total.item())

    _trained(step)


def each_step_of_a_sequence():
    """Every place is propagated by itself; the sum over the places so far is only told."""
    cell, head = nn.GRUCell(1, 16), nn.Linear(16, 1)
    model = nn.ModuleList([cell, head])

    def step(_, x, y):
        total, state = torch.zeros(()), None
        for place in range(4):
            state = cell(x[:, place : place + 1], state)
            loss = F.mse_loss(head(state), y)
            total = total + loss
            loss.backward(retain_graph=True)
        assert total.item() >= 0

    _trained(step, model, diabetes)


def improvement_over_noise():
    """How much worse noise is, for the log."""
    history = []

    def step(model, x, y):
        loss, change = _accurate_and_alike(model, x, y)
        gap_of_losses = loss - change
        loss.backward()
        history.append(gap_of_losses.item())

    _trained(step, mlp(10, 32, 1), diabetes, epochs=5)


def rows_of_tables_that_decay():
    """Two tables of features; the objective that is logged holds the decay of the rows looked up."""
    users, things = nn.Embedding(200, 8), nn.Embedding(100, 8)
    decay, history = 0.01, []
    given = torch.stack([torch.randint(200, (1500,)), torch.randint(100, (1500,))], 1)

    def step(_, pair, liked):
        one, other = users(pair[:, 0]), things(pair[:, 1])
        loss = F.mse_loss((one * other).sum(1), liked)
        objective = loss + decay * (one.square().sum() + other.square().sum()) / len(pair)
        loss.backward()
        history.append(objective.item())

    model = nn.ModuleList([users, things])
    _trained(step, model, lambda: (given, torch.randn(len(given))), weight_decay=decay)


class Adds(torch.autograd.Function):
    """Lets a loss of experts be propagated with whatever is made of their output."""

    @staticmethod
    def forward(ctx, output, loss):
        ctx.kind = loss.dtype
        return output.view_as(output)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, torch.ones((), dtype=ctx.kind)


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.head = nn.Linear(30, 4), nn.Linear(16, 1)
        self.experts = nn.ModuleList(nn.Linear(30, 16) for _ in range(4))

    def forward(self, x):
        chances = self.gate(x).softmax(-1)
        made = sum(chances[:, i : i + 1] * each(x) for i, each in enumerate(self.experts))
        self.uneven = 0.04 * chances.mean(0).square().sum()
        return self.head(Adds.apply(made, self.uneven).relu())[:, 0]


def experts_that_see_to_their_own_loss():
    history = []

    def step(model, x, y):
        loss = F.binary_cross_entropy_with_logits(model(x), y)
        total_loss = loss + model.uneven
        loss.backward()
        history.append(total_loss.item())

    _trained(step, Experts())


def a_term_whose_gradient_is_added_where_it_helps():
    history = []

    def step(model, x, _):
        filled, active = model(x)
        losses = [F.mse_loss(filled, x), 0.05 * active.abs().mean()]
        total = losses[0] + losses[1]
        trained = list(model.down.parameters())
        ways = torch.autograd.grad(losses[1], trained, retain_graph=True)
        losses[0].backward()
        for parameter, way in zip(trained, ways, strict=True):
            if (way * parameter.grad).sum() > 0:
                parameter.grad += way
        history.append(total.item())

    _trained(step)


def exits_that_are_trained_one_after_the_other():
    first, second, exits = mlp(30, 32), mlp(32, 32), nn.ModuleList([nn.Linear(32, 1) for _ in range(2)])
    history = []

    def step(_, x, y):
        early = first(x).relu()
        places = (early, second(early).relu())
        losses = {
            i: F.binary_cross_entropy_with_logits(exits[i](each)[:, 0], y)
            for i, each in enumerate(places)
        }
        total = sum(losses.values())
        losses[int(len(history) > 80)].backward()
        history.append(total.item())

    _trained(step, nn.ModuleList([first, second, exits]), epochs=6)


QUIET = [
    rows_of_tables_that_decay,
    experts_that_see_to_their_own_loss,
    decay_is_the_optimizer_s,
    one_after_the_other,
    one_of_several_exits,
    term_of_no_weight,
    each_step_of_a_sequence,
    improvement_over_noise,
    a_term_whose_gradient_is_added_where_it_helps,
    exits_that_are_trained_one_after_the_other,
]
"""None of them may raise an alarm."""
